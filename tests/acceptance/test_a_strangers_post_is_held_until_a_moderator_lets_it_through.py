"""Whose post it is decides what becomes of it: members', strangers', forged ones, and what comes round again."""

from __future__ import annotations

import email
import email.policy
import smtplib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import httpx
import pytest

from deploy.local.dns_server import Records, dns_server_in_a_thread
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK
from deploy.local.sink import Copy

MODERATOR = "mo@company.test"
MEMBER = "member-1@members.test"
#: A member whose domain lets nobody send from here.
VICTIM = "vic@victims.test"
#: One whose domain's server does not answer.
SILENT = "sam@silent.test"
STRANGER = "eve@strangers.test"
RECORDS: Records = {
    ("members.test", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"'],
    ("victims.test", "TXT"): ['"v=spf1 -all"'],
    ("strangers.test", "TXT"): ['"v=spf1 ip4:127.0.0.0/8 -all"'],
    ("silent.test", "ANY"): "SERVFAIL",
    ("_dmarc.silent.test", "ANY"): "SERVFAIL",
}


@pytest.fixture
def held(cluster: LiveCluster) -> Iterator[LiveCluster]:
    """A cluster that asks a DNS server of ours, and believes no peer."""
    with dns_server_in_a_thread(RECORDS) as dns:
        cluster.sink.keeps_contents = True
        public_url = f"http://{LOOPBACK}:{cluster.tracking_port}"
        cluster.start_admin()
        cluster.start_ingress(trusted_networks="none", dns_resolver=f"{LOOPBACK}:{dns.port}")
        cluster.start_scheduler(public_url=public_url)
        cluster.start_tracking(public_url=public_url)
        cluster.start_outbound(1)
        cluster.processes.wait_until_ready()
        yield cluster


def post(cluster: LiveCluster, to: str, author: str, subject: str) -> str:
    fields = (f"From: {author}", f"To: {to}", f"Subject: {subject}", f"Message-ID: <{subject}@tests>")
    content = "\r\n".join([*fields, "", f"Hello, {subject}.", ""])
    return cluster.post_bytes(to, content.encode(), sender=author)


def links_in(cluster: LiveCluster, subject: str) -> dict[str, str]:
    """The links in the mail to the moderator about the post, by choice."""
    cluster.sink.wait_for_recipients(1, 30, subject=subject)
    [copy] = [copy for copy in cluster.sink.copies if subject in copy.subject and copy.recipient == MODERATOR]
    body = email.message_from_bytes(copy.content, policy=email.policy.default).get_content()
    return {word.rpartition("/")[2]: word for word in body.split() if word.startswith("http://")}


def state(cluster: LiveCluster, message: str) -> str:
    [target] = cluster.api.message(message)["targets"]
    return str(target["state"])


def test_whose_post_it_is_decides_what_becomes_of_it(held: LiveCluster) -> None:
    strangers_are_held_and_members_are_not(held)
    each_subscriber_of_lists_that_are_members_of_each_other_gets_one_copy(held)


def strangers_are_held_and_members_are_not(held: LiveCluster) -> None:
    dev = held.create_list("dev", members=3, policy="members", non_member_action="hold")
    members = {f"member-{number}@members.test" for number in range(1, 4)} | {MODERATOR, VICTIM, SILENT}
    held.import_members(dev, [VICTIM, SILENT])
    held.api.import_members(dev, ["email,role", f"{MODERATOR},moderator"])

    # A member's own post goes to the members at once.
    post(held, dev, MEMBER, "own")
    held.sink.wait_for_recipients(len(members), 30, subject="own")

    # A stranger's goes to nobody before a moderator presses the button, whatever opens the link.
    strange = post(held, dev, STRANGER, "strange")
    links = links_in(held, "strange")
    for link in links.values():
        assert httpx.get(link).status_code == 200
    assert state(held, strange) == "held"
    assert httpx.post(links["approve"]).status_code == 200
    held.sink.wait_until(lambda sink: all(sink.copies_per_recipient()[member] for member in members), 30)
    held.wait_until_finished(strange)
    assert Counter(copy.recipient for copy in held.sink.copies if copy.subject == "strange") == Counter(members)
    assert httpx.post(links["discard"]).status_code == 409
    assert state(held, strange) == "distributed"

    # A member's name is not enough, and nobody writes to who was named.
    forged = post(held, dev, VICTIM, "forged")
    reject = links_in(held, "forged")["reject"]
    assert "gets no mail" in httpx.post(reject, data={"reason": "Who are you?"}).text
    assert state(held, forged) == "rejected"

    # While nobody can know, the sender is to try again.
    with pytest.raises(smtplib.SMTPDataError, match=r"4\.4\.3"):
        post(held, dev, SILENT, "silent")

    def notices() -> Counter[str]:
        return Counter(copy.recipient for copy in held.sink.copies if b"Auto-Submitted:" in copy.content)

    # Two to the moderator, and one to the stranger, who is shown to be who it is.
    wait_until(lambda: notices()[STRANGER], 30)
    assert notices() == Counter({MODERATOR: 2, STRANGER: 1})


def each_subscriber_of_lists_that_are_members_of_each_other_gets_one_copy(held: LiveCluster) -> None:
    first, second = held.create_list("first"), held.create_list("second")
    held.import_members(first, [second, "ann@members.test", "both@members.test"])
    held.import_members(second, [first, "bob@members.test", "both@members.test"])
    lists = {first, second}
    mail_server = MailServer(held, lists)
    people = {"ann@members.test", "bob@members.test", "both@members.test"}

    post(held, first, MEMBER, "round")
    held.sink.wait_until(lambda sink: sink.copies_per_recipient("round")[second] == 1, 30)
    refused = mail_server.carry("round")
    held.sink.wait_until(lambda sink: set(sink.copies_per_recipient("round")) >= people, 30)
    refused += mail_server.carry("round")
    counts = held.sink.copies_per_recipient("round")
    assert {person: counts[person] for person in people} == dict.fromkeys(people, 1)
    assert refused == 1, "what the first list had is refused there"

    # Posted to both, it comes to each list by two ways, and is sent once.
    post(held, first, MEMBER, "twice")
    post(held, second, MEMBER, "twice")
    held.sink.wait_until(lambda sink: set(sink.copies_per_recipient("twice")) >= lists | people, 30)
    mail_server.carry("twice")
    wait_until(lambda: all(mailing["state"] == "finished" for mailing in held.api.pages("/mailings")), 30)
    counts = held.sink.copies_per_recipient("twice")
    assert {person: counts[person] for person in people} == dict.fromkeys(people, 1)


@dataclass
class MailServer:
    """Brings lists the copies that were sent to them, each once."""

    cluster: LiveCluster
    lists: set[str]
    carried: list[Copy] = field(default_factory=list)

    def carry(self, subject: str) -> int:
        """How many were refused."""
        refused = 0
        for copy in list(self.cluster.sink.copies):
            if copy.recipient not in self.lists or copy.subject != subject or copy in self.carried:
                continue
            self.carried.append(copy)
            try:
                message = self.cluster.post_bytes(copy.recipient, copy.content, sender=copy.sender)
            except smtplib.SMTPDataError:
                refused += 1
            else:
                wait_until(partial(_is_decided, self.cluster, message), 30)
        return refused


def _is_decided(cluster: LiveCluster, message: str) -> bool:
    return state(cluster, message) != "received"
