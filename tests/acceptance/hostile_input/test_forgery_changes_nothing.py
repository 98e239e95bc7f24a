"""Somebody else's name, forged tokens, floods of requests: nobody is mailed, let in or put out because of them."""

from __future__ import annotations

import re

import httpx

from deploy.local.live_cluster import OPERATOR, LiveCluster, wait_until
from deploy.local.ports import LOOPBACK
from shared.core.courtesy import MAX_CONFIRMATIONS
from tests.acceptance.hostile_input.arrivals import ARRIVAL_SECONDS, body_of, mail_to, message_of, wait_until_settled
from tests.acceptance.hostile_input.raw_client import STRANGERS_PEER, RawClient, post

VICTIM = "vic@victims.test"
MODERATOR = "mo@company.test"


def test_nobody_is_mailed_because_somebody_used_their_name(cluster: LiveCluster) -> None:
    news = cluster.create_list("open", members=1)
    members = cluster.create_list("members", members=1, policy="members")
    held = cluster.create_list("held", policy="members", non_member_action="hold", tells_held_authors=True)
    cluster.api.import_members(held, ["email,role", f"{MODERATOR},moderator", f"{VICTIM},member"])
    domain = news.rpartition("@")[2]
    forged = post("spam", author=VICTIM)
    robot = post("robot", fields=b"Auto-Submitted: auto-replied\r\n", author=VICTIM)
    with RawClient.to(cluster.smtp_port, source=STRANGERS_PEER) as client:
        assert client.begin(VICTIM, f"nobody@{domain}").startswith("550")
        client.say(b"RSET")
        assert client.say(f"MAIL FROM:<{VICTIM}> SIZE=99999999".encode()).startswith("552")
        assert client.post(VICTIM, members, forged).startswith("550 5.7.1")
        assert client.post(VICTIM, news, robot).startswith("550 5.7.1")
        assert client.post("", news, forged).startswith("550 5.7.1")
        assert client.post(VICTIM, held, forged).startswith("250"), "a moderator looks at it"
        for door in ("request", "join", "leave"):
            for sender, content in (("", forged), (VICTIM, robot)):
                assert client.post(sender, f"held-{door}@{domain}", content).startswith("250")
        for door in ("owner", "bounces"):
            client.post("", f"held-{door}@{domain}", robot)
        assert client.post(VICTIM, f"b+{'0123456789' * 4}@{domain}", forged).startswith("550")
        client.post(VICTIM, f"held-request@{domain}", post("which", b"which\r\nhelp\r\n", author=VICTIM))
    cluster.sink.wait_until(lambda sink: sink.copies_per_recipient()[MODERATOR] >= 2, ARRIVAL_SECONDS)
    wait_until_settled(cluster)
    cluster.post(news, "last")
    cluster.sink.wait_for_recipients(1, ARRIVAL_SECONDS, subject="last")
    assert cluster.sink.copies_per_recipient()[VICTIM] == 0
    assert set(cluster.sink.copies_per_recipient()) <= {MODERATOR, OPERATOR, "member-1@members.test"}


def test_an_address_is_not_buried_under_confirmations(cluster: LiveCluster) -> None:
    lists = [cluster.create_list(f"bombing-{number}") for number in range(2 * MAX_CONFIRMATIONS)]
    spellings = ("ann@people.test", "ANN+tag@people.test", "a.n.n@people.test")
    with RawClient.to(cluster.smtp_port) as client, httpx.Client() as browser:
        for news in lists:
            door = news.replace("@", "-subscribe@")
            for spelling in spellings:
                content = post("Buy watches", b"Buy watches at http://evil.test/\r\n", author=f"Watches <{spelling}>")
                assert client.post(spelling, door, content).startswith("250")
            page = f"http://{LOOPBACK}:{cluster.tracking_port}/lists/{news}/join"
            assert browser.post(page, data={"email": spellings[0]}).status_code == 200
    wait_until_settled(cluster)
    cluster.post(cluster.create_list("bombing-over", members=1), "last")
    cluster.sink.wait_for_recipients(1, ARRIVAL_SECONDS, subject="last")
    got = [copy for copy in cluster.sink.copies if copy.recipient.endswith("@people.test")]
    assert len(got) == MAX_CONFIRMATIONS
    assert not any(b"watches" in copy.content.lower() or b"evil.test" in copy.content for copy in got)


def test_forged_tokens_change_nothing_and_true_ones_only_by_post(cluster: LiveCluster) -> None:
    news = cluster.create_list("tokens", members=1, policy="members", non_member_action="hold")
    cluster.api.import_members(news, ["email,role", f"{MODERATOR},moderator"])
    name, _, domain = news.partition("@")
    member, asking = "member-1@members.test", "joan@people.test"
    cluster.post_bytes(news, post("copy", author=member), sender=member)
    held = cluster.post_bytes(news, post("held"))
    cluster.post_bytes(f"{name}-join@{domain}", f"From: {asking}\r\n\r\n".encode(), sender=asking)
    copy = mail_to(cluster, member)
    asked = mail_to(cluster, asking)
    to_moderate = mail_to(cluster, MODERATOR, "held")
    pages = {
        "confirm": link_in(body_of(asked), "/confirm/"),
        "leave": link_in(str(message_of(copy)["List-Unsubscribe"]), "/leave/"),
        "held": link_in(body_of(to_moderate), "/held/"),
    }

    def state() -> tuple[object, ...]:
        members = [(row["email"], row["status"]) for row in cluster.api.pages(f"/lists/{news}/members")]
        return sorted(members), cluster.api.message(held)["targets"][0]["state"]

    before = state()
    with httpx.Client() as browser:
        unknown = browser.post(f"http://{LOOPBACK}:{cluster.tracking_port}/confirm/none")
        tokens = {purpose: token_in(url) for purpose, url in pages.items()}
        for purpose, url in pages.items():
            others = [token for of, token in tokens.items() if of != purpose]
            for forged in [*forgeries_of(tokens[purpose]), *others]:
                answer = browser.post(url.replace(tokens[purpose], forged), data={"List-Unsubscribe": "One-Click"})
                assert (answer.status_code, answer.text) == (404, unknown.text), f"{purpose}: {forged[:80]}"
            for method in ("GET", "HEAD", "OPTIONS"):
                browser.request(method, url)
        with RawClient.to(cluster.smtp_port) as client:
            for purpose, other in (("confirm", "leave"), ("leave", "held")):
                for forged in [*forgeries_of(tokens[purpose])[::9], tokens[other]]:
                    address = f"{name}-{purpose}+{forged[:40]}@{domain}"
                    client.post(asking, address, post("yes", author=asking))
        return_path, _, return_domain = copy.sender.partition("@")
        forged_paths = [f"b+{forged}@{return_domain}" for forged in forgeries_of(return_path[2:])]
        for start in range(0, len(forged_paths), 15):  # A session ends after 20 refusals.
            with RawClient.to(cluster.smtp_port) as client:
                client.say(b"MAIL FROM:<>")
                for path in forged_paths[start : start + 15]:
                    assert client.say(f"RCPT TO:<{path}>".encode())[:1] == "5", path
        wait_until_settled(cluster)
        assert state() == before

        for url in pages.values():
            assert browser.post(url).status_code == 200
    wanted = [(asking, "subscribed"), (MODERATOR, "subscribed"), (member, "unsubscribed")]
    wait_until(lambda: state() == (sorted(wanted), "distributed"), ARRIVAL_SECONDS)


def forgeries_of(token: str) -> list[str]:
    """Tokens that nobody made: one with each digit changed, shorter and longer ones, and what is none at all."""
    flipped = [f"{token[:at]}{int(token[at], 16) ^ 1:x}{token[at + 1 :]}" for at in range(len(token))]
    return [*flipped, token[:-2], token[2:], token + "00", "0" * len(token), "x", "0" * 60_000]


def link_in(text: str, path: str) -> str:
    found = re.search(rf"http://[^\s>]*{path}[^\s>]*", text)
    assert found, text
    return found.group()


def token_in(url: str) -> str:
    found = re.search(r"[0-9a-f]{30,}", url)
    assert found, url
    return found.group()
