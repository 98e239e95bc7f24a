"""A personal list with a key: every copy holds its member's own values, and is verified by another implementation.

And the same list when it is personal no more: one signed copy for all, to the byte what was posted.
"""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator

import dkim
import pytest

from deploy.local.dns_server import DnsServer, Records, dns_server_in_a_thread, txt
from deploy.local.live_cluster import AUTHOR, LiveCluster

MEMBERS = 60
POST = (
    f"From: {AUTHOR}\r\nTo: news@lists.test\r\nMessage-ID: <1@authors.test>\r\n"
    "Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe=2C_=7B=7Bfirst=5Fname=7Cfriend=7D=7D?=\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "Caf\u00e9 for {{first_name|friend}} of {{city}}:\r\n.\r\nhttps://shop.test/?m={{url:email}}\r\n"
).encode("latin-1")


@pytest.fixture
def records() -> dict[tuple[str, str], list[str] | str]:
    return {}


@pytest.fixture
def dns(records: Records) -> Iterator[DnsServer]:
    with dns_server_in_a_thread(records) as server:
        yield server


def test_every_copy_is_its_members_own_and_verifies(
    cluster: LiveCluster, dns: DnsServer, records: dict[tuple[str, str], list[str] | str]
) -> None:
    cluster.sink.keeps_contents = True
    cluster.start_admin(dns_resolver=f"127.0.0.1:{dns.port}")
    cluster.start_ingress()
    cluster.start_scheduler()
    cluster.start_outbound(2)
    cluster.processes.wait_until_ready()
    news = cluster.create_list("news")
    assert cluster.api.request("PATCH", f"/lists/{news}", json={"personal": True}).status_code == 200
    for number in range(1, MEMBERS + 1):
        fields = {"first_name": f"Änn {number}\r\n.\r\nBcc: x", "city": "Köln"} if number > 1 else {}
        member = {"email": f"member-{number}@members.test", "fields": fields}
        assert cluster.api.request("POST", f"/lists/{news}/members", json=member).status_code == 201
    for algorithm in ("rsa-sha256", "ed25519-sha256"):
        key = cluster.api.request("POST", "/dkim-keys", json={"domain": "lists.test", "algorithm": algorithm}).json()
        records[key["record"]["name"], "TXT"] = [txt(key["record"]["text"])]
        assert cluster.api.request("POST", f"/dkim-keys/{key['id']}/check").json()["is_published"]
        assert cluster.api.request("POST", f"/dkim-keys/{key['id']}/activate").status_code == 200

    cluster.wait_until_finished(cluster.post_bytes(news, POST), 60)

    assert cluster.sink.copies_per_recipient() == {f"member-{n}@members.test": 1 for n in range(1, MEMBERS + 1)}
    for copy in cluster.sink.copies:
        number = int(copy.recipient.partition("@")[0].removeprefix("member-"))
        _assert_is_the_members_own(copy.content, number)
        _assert_verifies(copy.content, records)
    assert len({copy.sender for copy in cluster.sink.copies}) == MEMBERS, "a return path each"

    change = {"personal": False, "verp_enabled": False}
    assert cluster.api.request("PATCH", f"/lists/{news}", json=change).status_code == 200
    cluster.sink.reset()
    cluster.sink.keeps_contents = True
    cluster.wait_until_finished(cluster.post_bytes(news, POST.replace(b"<1@", b"<2@")), 60)

    copies = cluster.sink.copies
    assert len(copies) == MEMBERS
    assert {copy.content.partition(b"\r\n\r\n")[2] for copy in copies} == {POST.partition(b"\r\n\r\n")[2]}
    assert len({copy.sender for copy in copies}) == 1, "one return path for all"
    _assert_verifies(copies[0].content, records)


def _assert_is_the_members_own(content: bytes, number: int) -> None:
    message = email.message_from_bytes(content, policy=email.policy.default)
    name = f"Änn {number}\r\n.\r\nBcc: x" if number > 1 else "friend"
    on_one_line = name.replace("\r\n", " ")
    assert message["Subject"] == f"Grüße, {on_one_line}"
    assert message["Bcc"] is None
    city = "Köln" if number > 1 else ""
    link = f"https://shop.test/?m=member-{number}%40members.test"
    body = message.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert body.decode() == f"Café for {name} of {city}:\r\n.\r\n{link}\r\n"


def _assert_verifies(content: bytes, records: Records) -> None:
    def find(name: bytes, timeout: float = 5) -> bytes:
        text = records[name.decode().rstrip("."), "TXT"][0]
        return "".join(text.split('"')[1::2]).encode()

    assert content.count(b"\r\nDKIM-Signature:") == 1, "and one before it"
    assert all(dkim.DKIM(content).verify(number, dnsfunc=find) for number in range(2))
