"""Smuggling, injection of commands, relaying, endless lines, several authors: answered in the session, and no more."""

from __future__ import annotations

from collections import Counter

from deploy.local.live_cluster import AUTHOR, LiveCluster
from tests.acceptance.hostile_input.arrivals import ARRIVAL_SECONDS, expect_only, wait_until_settled
from tests.acceptance.hostile_input.loads import ingress, resident_bytes
from tests.acceptance.hostile_input.raw_client import STRANGERS_PEER, RawClient, post

FALSE_ENDS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CRLF.CR": b"\r\n.\r",
    "CR.CRLF": b"\r.\r\n",
    "LF.CR": b"\n.\r",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRLF NUL.CRLF": b"\r\n\x00.\r\n",
}


def test_a_false_end_of_data_smuggles_nothing_in_or_out(cluster: LiveCluster) -> None:
    news, other = cluster.create_list("smuggling", members=1), cluster.create_list("smuggled", members=1)
    smuggled = f"MAIL FROM:<evil@evil.test>\r\nRCPT TO:<{other}>\r\nDATA\r\nSubject: evil\r\n\r\nevil".encode()
    with RawClient.to(cluster.smtp_port) as client:
        for name, false_end in FALSE_ENDS.items():
            reply = client.post(AUTHOR, news, post(name, b"before" + false_end + smuggled))
            assert reply.startswith("250 2.0.0 Stored"), name
        assert client.say(b"QUIT").startswith("221"), "nothing of them was a command"
    # The sink ends a message at CR LF . CR LF alone, as the next server may at any of the others.
    cluster.sink.wait_until(lambda sink: len(sink.copies) >= len(FALSE_ENDS), ARRIVAL_SECONDS)
    assert Counter(copy.subject for copy in cluster.sink.copies) == Counter(list(FALSE_ENDS))
    for copy in cluster.sink.copies:
        assert (copy.recipient, b"evil@evil.test" in copy.content) == ("member-1@members.test", True)
        bare = copy.content.replace(b"\r\n", b"")
        assert b"\r" not in bare
        assert b"\n" not in bare


def test_what_is_sent_in_the_clear_before_tls_is_never_executed(cluster: LiveCluster) -> None:
    news = cluster.create_list("tls", members=1)
    with RawClient.to(cluster.smtp_port) as client:
        client.send(b"STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@evil.test>\r\n")
        assert client.reply().startswith("220")
        client.start_tls()
        assert client.say(f"RCPT TO:<{news}>".encode()).startswith("503")
        assert client.say(b"MAIL FROM:<evil@evil.test>").startswith("503"), "EHLO is needed again"
        client.say(b"EHLO client.test")
        assert client.post(AUTHOR, news, post("in private")).startswith("250")
    expect_only(cluster, Counter({"member-1@members.test": 1}))
    assert cluster.sink.copies[0].content.count(b"evil") == 0


def test_addresses_carry_no_commands_and_nothing_is_relayed(cluster: LiveCluster) -> None:
    news = cluster.create_list("relay", members=1)
    us = news.rpartition("@")[2]
    paths = [
        *("vic@victims.test", f"vic%victims.test@{us}", f"@{us}:vic@victims.test", f"@a.test,@{us}:vic@victims.test"),
        *(f"victims.test!vic@{us}", f"victims.test!vic%x@{us}", f'"vic@victims.test"@{us}', "vic@[192.0.2.7]"),
        *("vic@[IPv6:2001:db8::1]", f"vic@victims.test@{us}", f'"{news}"@victims.test', f"{news}>RCPT TO:<vic@v.test"),
        *(f"{news}> <vic@victims.test", f'"a\rRCPT TO:<vic@victims.test>"@{us}', f"{news}\x00", f"{news}\rx", "", " "),
    ]
    with RawClient.to(cluster.smtp_port, source=STRANGERS_PEER) as client:
        for path in paths:
            assert client.say(b"MAIL FROM:<eve@strangers.test>").startswith("250")
            reply = client.say(f"RCPT TO:<{path}>".encode())
            assert reply[:1] == "5", f"{path!r}: {reply}"
            assert client.say(b"RSET").startswith("250"), "replies and commands are still in step"
        assert client.say(b"VRFY " + news.encode()).startswith("252")
    with RawClient.to(cluster.smtp_port, source=STRANGERS_PEER) as client:
        for sender in ("a@b.test>\rRCPT TO:<vic@victims.test", "a@b.test\x00", '"a\r"@b.test', "a@b.test> SIZE=1 <"):
            assert client.say(f"MAIL FROM:<{sender}>".encode())[:1] == "5"

    # The doors through which addresses come by the API, and by a From that is to be answered.
    for address in ('"a\r\nRCPT TO:<vic@victims.test>"@members.test', "a@b.test>\r\nRCPT TO:<vic@victims.test"):
        assert cluster.api.request("POST", f"/lists/{news}/members", json={"email": address}).status_code == 422
        quoted = address.replace('"', '""')
        assert cluster.api.import_members(news, ["email", f'"{quoted}"'])["rejected"] == 1
    name, _, domain = news.partition("@")
    for author in (
        '"a\rRCPT TO:<vic@victims.test>"@b.test',
        "<a@b.test>, <vic@victims.test>",
        "a@b.test\x00@victims.test",
    ):
        cluster.post_bytes(f"{name}-join@{domain}", f"From: {author}\r\n\r\njoin\r\n".encode(), sender="eve@b.test")
    wait_until_settled(cluster)
    cluster.post(news, "after all that")
    expect_only(cluster, Counter({"member-1@members.test": 1}))


def test_endless_lines_and_slow_clients_hold_up_nobody(cluster: LiveCluster) -> None:
    news = cluster.create_list("endless", members=1)
    before_bytes = resident_bytes(ingress(cluster))
    with RawClient.to(cluster.smtp_port, source=STRANGERS_PEER) as slow:
        slow.begin("eve@strangers.test", news)
        slow.say(b"DATA")
        for command in (b"NOOP " + b"x" * 4_000_000, b"\x00" * 4_000_000):
            with RawClient.to(cluster.smtp_port, source="127.0.0.3") as client:
                slow.send(b"S")
                assert client.say(command).startswith("500")
                assert client.say(b"NOOP").startswith("250")
        with RawClient.to(cluster.smtp_port) as client:
            reply = client.post(AUTHOR, news, post("one line", fields=b"X-Long: " + b"x" * 4_000_000 + b"\r\n"))
            assert reply.startswith("550 5.6.0")
            assert client.post(AUTHOR, news, post("served")).startswith("250")
    expect_only(cluster, Counter({"member-1@members.test": 1}))
    assert resident_bytes(ingress(cluster)) - before_bytes < 50_000_000


def test_two_from_fields_are_refused_in_the_session(cluster: LiveCluster) -> None:
    news = cluster.create_list("authors", members=1, policy="members")
    member = "member-1@members.test"
    refused = [
        post("two", fields=b"From: eve@evil.test\r\n", author=member),
        post("folded", fields=b"From\t: eve@evil.test\r\n", author=member),
        post("behind a bare CR", fields=b"X-Note: a\rFrom: eve@evil.test\r\n", author=member),
        post("encoded", author="=?utf-8?b?bWVtYmVyLTFAbWVtYmVycy50ZXN0?="),
        post("quoted", author=f'"{member}" <eve@evil.test>'),
        post("group", author=f"members: {member}, eve@evil.test;"),
        b"Subject: none\r\n\r\nHello.",
    ]
    with RawClient.to(cluster.smtp_port) as client:
        for content in refused:
            reply = client.post(member, news, content)
            assert reply.startswith("550 5."), f"{content!r}: {reply}"
        assert client.post(member, news, post("one", author=member)).startswith("250")
    expect_only(cluster, Counter({member: 1}))
