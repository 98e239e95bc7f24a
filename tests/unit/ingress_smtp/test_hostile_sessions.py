"""Smuggling (S1), STARTTLS injection (S3), and whatever else clients send."""

from __future__ import annotations

import asyncio
import random
import ssl

import pytest
import uvloop

from tests.unit.ingress_smtp.smtp_client import running_ingress, until

POST = b"From: ann@example.org\r\nSubject: hello\r\n\r\nhello\r\n.\r\n"
SMUGGLED = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<open@lists.test>\r\nDATA\r\nFrom: evil@example.org\r\n\r\nevil"

FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\n.\r\r\n",
    b"\r\n\x00.\r\n",
]


@pytest.mark.parametrize("false_end", FALSE_ENDS, ids=repr)
@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_false_end_of_data_smuggles_nothing(false_end: bytes, pieces: int) -> None:
    content = b"From: ann@example.org\r\n\r\nbody" + false_end + SMUGGLED + b"\r\n.\r\n"
    async with running_ingress() as ingress, ingress.client() as client:
        await client.begin("dev@lists.test")
        assert (await client.say("DATA")).startswith("354")
        step = -(-len(content) // pieces)
        for start in range(0, len(content), step):
            await client.send(content[start : start + step])
        assert (await client.reply()).startswith("250")
        # Nothing of it was taken for a command.
        assert await client.say("QUIT") == "221 Bye"
    [submission] = ingress.intake.submissions
    assert [route.address for route in submission.routes] == ["dev@lists.test"]
    assert b"MAIL FROM:<evil@example.org>" in submission.content
    bare = submission.content.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare


_SCRAPS = [
    *b"EHLO MAIL RCPT DATA RSET HELP VRFY STARTTLS FROM:< TO:< > @ . SIZE= SMTPUTF8 dev@lists.test".split(),
    *(b" ", b"\r\n", b"\r", b"\n", b"\x00", b"\xff", b'"', b"\\", b"(" * 300),
]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_a_client_sends_the_next_one_is_served(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    async with running_ingress() as ingress:
        async with ingress.client() as client:
            await client.send(b"".join(chance.choices(_SCRAPS, k=400)) + b"\r\n.\r\nQUIT\r\nQUIT\r\n")
            while await client.reply():
                pass
        await until(lambda: ingress.server.session_count == 0)
        assert ingress.budget.held_bytes == 0
        async with ingress.client() as client:
            await client.begin("dev@lists.test")
            assert (await client.data(POST)).startswith("250")


async def test_starttls_protects_a_session_that_begins_anew(certificate: ssl.SSLContext) -> None:
    async with running_ingress(tls=certificate) as ingress, ingress.client() as client:
        assert "250 STARTTLS" in await client.say("EHLO client.test")
        assert (await client.say("STARTTLS")).startswith("220")
        await client.start_tls()
        assert (await client.say("MAIL FROM:<>")).startswith("503")
        assert "STARTTLS" not in await client.say("EHLO client.test")
        await client.begin("dev@lists.test")
        assert (await client.data(POST)).startswith("250")
        await client.begin("dev@lists.test")
        assert (await client.data(b"x: y\r\n" * 400_000 + b"\r\n.\r\n")).startswith("250")
    assert [submission.client.protocol for submission in ingress.intake.submissions] == ["ESMTPS", "ESMTPS"]
    assert ingress.intake.submissions[0].client.address == "127.0.0.1"


async def test_starttls_works_on_the_event_loop_that_services_run_on(certificate: ssl.SSLContext) -> None:
    await asyncio.to_thread(uvloop.run, test_starttls_protects_a_session_that_begins_anew(certificate))


async def test_commands_sent_with_starttls_in_the_clear_are_never_executed(certificate: ssl.SSLContext) -> None:
    async with running_ingress(tls=certificate) as ingress, ingress.client() as client:
        await client.say("EHLO client.test")
        await client.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.org>\r\n")
        assert (await client.reply()).startswith("220")
        await client.start_tls()
        assert (await client.say("RCPT TO:<dev@lists.test>")).startswith("503")
        assert (await client.say("MAIL FROM:<>")).startswith("503")
        await client.begin("dev@lists.test")
        assert (await client.data(POST)).startswith("250")
    assert [submission.client.greeting for submission in ingress.intake.submissions] == ["client.test"]


async def test_a_broken_handshake_ends_the_session(certificate: ssl.SSLContext) -> None:
    async with running_ingress(tls=certificate) as ingress, ingress.client() as client:
        await client.say("EHLO client.test")
        assert (await client.say("STARTTLS")).startswith("220")
        await client.send(b"this is no handshake\r\n" * 20)
        await until(lambda: ingress.server.session_count == 0)
    assert ingress.intake.submissions == []
