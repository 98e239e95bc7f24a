"""Messages that take long to read: answered within a second, while the loop serves others, in little memory."""

from __future__ import annotations

from collections import Counter

from deploy.local.live_cluster import AUTHOR, LiveCluster
from tests.acceptance.hostile_input.arrivals import expect_only
from tests.acceptance.hostile_input.loads import cpu_seconds, heard_all_the_time, ingress, resident_bytes
from tests.acceptance.hostile_input.raw_client import RawClient, post


def nested(depth: int) -> bytes:
    opened = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))
    return opened + b"\r\ndeep\r\n"


ADDRESSES = b",".join(b" a%d@b.test" % number for number in range(40_000))
#: Content, and how it is answered: what is taken goes to the members as it is.
BOMBS: dict[str, tuple[bytes, str]] = {
    "1000 levels": (post("levels")[:-8] + nested(1000), "250"),
    "100000 parts": (
        post("parts", b"--a\nx:y\n\n" * 100_000, fields=b"Content-Type: multipart/mixed; boundary=a\r\n"),
        "250",
    ),
    "10000 messages": (
        post("messages", b"Content-Type: message/rfc822\r\n\r\n" * 10_000, fields=b"Content-Type: message/rfc822\r\n"),
        "250",
    ),
    "long boundary": (
        post(
            "boundary",
            b"--" + b"b" * 900 + b"\r\n" * 50_000,
            fields=b"Content-Type: a/b; boundary=" + b"b" * 900 + b"\r\n",
        ),
        "250",
    ),
    "100000 fields": (post("fields", fields=b"X: y\r\n" * 100_000), "550"),
    "one huge field": (post("field", fields=b"X: " + b"y\r\n " * 1_000_000 + b"\r\n"), "550"),
    "40000 addresses": (post("addresses", fields=b"To:" + ADDRESSES.replace(b", ", b",\r\n ") + b"\r\n"), "550"),
    "1000 comments": (post("comments", author="(" * 1000 + ")" * 1000 + AUTHOR).replace(b"((((", b"((((\r\n "), "550"),
    "5000 encoded words": (post("words", fields=b"X:" + b"\r\n =?utf-8?q?a?=" * 5000 + b"\r\n"), "250"),
    "long References": (post("references", fields=b"References:" + b"\r\n <a@b.test>" * 8_000 + b"\r\n"), "250"),
}


def test_bombs_are_answered_at_once_and_block_nothing(cluster: LiveCluster) -> None:
    news = cluster.create_list("bombs", members=1)
    service = ingress(cluster)
    cluster.post(news, "warm")
    taken = 1
    before_bytes = resident_bytes(service)
    with heard_all_the_time(cluster, service) as longest_seconds, RawClient.to(cluster.smtp_port) as client:
        for name, (content, code) in BOMBS.items():
            began_seconds = cpu_seconds(service)
            reply = client.post(AUTHOR, news, content)
            took_seconds = cpu_seconds(service) - began_seconds
            assert reply.startswith(code), f"{name}: {reply}"
            assert took_seconds < 1, f"{name}: {took_seconds} s"
            taken += code == "250"
    assert longest_seconds[0] < 0.2, "the loop served another client all the time"
    assert resident_bytes(service) - before_bytes < 100_000_000
    cluster.post(news, "last")
    expect_only(cluster, Counter({"member-1@members.test": taken + 1}))
