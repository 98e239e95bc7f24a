"""Posts come while digests are made of them: who wants mail has each by itself, who wants digests has each in one of
them, in MIME or as plain text."""

from __future__ import annotations

import email
import email.policy
from collections import Counter
from email.message import EmailMessage

from deploy.local.live_cluster import LiveCluster, wait_until

POSTS = 11


def test_digests_hold_every_post_once(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.sink.keeps_contents = True
    talk = cluster.create_list("talk", members=3, display_name="Talk", digests_enabled=True, footer_text="Bye.")
    mail, mime, plain = (f"member-{number}@{cluster.members_domain}" for number in range(1, 4))
    for member, digest_format in ((mime, "mime"), (plain, "plain")):
        change = {"delivery_mode": "digest", "digest_format": digest_format}
        answer = cluster.api.request("PATCH", f"/lists/{talk}/members/{member}", json=change)
        assert answer.json()["digest_format"] == digest_format
    [task] = [task for task in cluster.api.pages("/tasks") if task["parameters"] == {"list": talk}]

    def ask_for_a_digest() -> None:
        wait_until(lambda: cluster.api.request("POST", f"/tasks/{task['id']}/run").status_code == 202, 30)

    subjects = [f"Post {number}" for number in range(POSTS)]
    for subject in subjects[:2]:
        cluster.post(talk, subject)
    wait_until(lambda: got_by(cluster, mail) == Counter(subjects[:2]), 30)
    for number, subject in enumerate(subjects[2:]):
        if number % 3 == 0:
            ask_for_a_digest()
        cluster.post(talk, subject)
    wanted = Counter(subjects)
    wait_until(lambda: got_by(cluster, mail) == wanted, 30)
    # All are distributed: what is not in a digest yet is in the next.
    ask_for_a_digest()
    for member in (mime, plain):
        wait_until(lambda: sum(got_by(cluster, member).values()) >= len(subjects), 30)  # noqa: B023
        assert got_by(cluster, member) == wanted

    assert got_by(cluster, mail) == wanted
    for issue in (*copies_of(cluster, mime), *copies_of(cluster, plain)):
        assert issue["Subject"].startswith("Talk Digest, Vol 1, Issue ")
        assert issue["List-Id"] == f"Talk <{talk.replace('@', '.')}>"
        assert issue["List-Unsubscribe"]
    assert {issue.get_content_type() for issue in copies_of(cluster, mime)} == {"multipart/mixed"}
    assert {issue.get_content_type() for issue in copies_of(cluster, plain)} == {"text/plain"}
    numbers = [issue["Subject"].rpartition(" ")[2] for issue in copies_of(cluster, mime)]
    assert sorted(numbers) == sorted({issue["Subject"].rpartition(" ")[2] for issue in copies_of(cluster, plain)})
    assert len(set(numbers)) == len(numbers) > 1


def copies_of(cluster: LiveCluster, member: str) -> list[EmailMessage]:
    found = [
        email.message_from_bytes(copy.content, policy=email.policy.default)
        for copy in cluster.sink.copies
        if copy.recipient == member
    ]
    return [copy for copy in found if isinstance(copy, EmailMessage)]


def got_by(cluster: LiveCluster, member: str) -> Counter[str]:
    """How often the member got each post."""
    subjects: Counter[str] = Counter()
    for copy in copies_of(cluster, member):
        if copy.is_multipart():
            subjects += Counter(str(part["Subject"]) for part in copy.walk() if part["Subject"] and part is not copy)
        elif "Digest" in copy["Subject"]:
            lines = copy.get_content().splitlines()
            subjects += Counter(line[9:] for line in lines if line.startswith("Subject: Post"))
        else:
            subjects[str(copy["Subject"])] += 1
    return subjects
