"""Smuggling (S1), STARTTLS injection (S3), and proxies nobody trusts."""

from __future__ import annotations

import asyncio
import datetime
import random
import ssl
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.lists.test")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    path: Path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


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


V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 1, 18, 103, 0, 25])
V2_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


@pytest.mark.parametrize(
    ("line", "address"), [(V1, "192.0.2.7"), (V2, "192.0.2.7"), (V2_LOCAL, "127.0.0.1")], ids=["v1", "v2", "local"]
)
async def test_a_trusted_proxy_says_who_the_client_is(line: bytes, address: str) -> None:
    async with (
        running_ingress(is_trusted_proxy=lambda peer: peer == "127.0.0.1") as ingress,
        ingress.client(greeted=False) as client,
    ):
        await client.send(line)
        assert (await client.reply()).startswith("220")
        await client.begin("dev@lists.test")
        await client.data(POST)
    assert ingress.intake.submissions[0].client.address == address


async def test_the_client_named_by_a_proxy_is_known_after_starttls(certificate: ssl.SSLContext) -> None:
    async with (
        running_ingress(is_trusted_proxy=lambda _: True, tls=certificate) as ingress,
        ingress.client(greeted=False) as client,
    ):
        await client.send(V1)
        await client.reply()
        await client.say("EHLO client.test")
        await client.say("STARTTLS")
        await client.start_tls()
        await client.begin("dev@lists.test")
        await client.data(POST)
    assert ingress.intake.submissions[0].client.address == "192.0.2.7"


@pytest.mark.parametrize("line", [b"PROXY TCP4\r\n", b"EHLO client.test\r\n", b"PROXY TCP4 1 2 3 4\r\n"], ids=repr)
async def test_a_trusted_proxy_that_does_not_say_it_is_cut_off(line: bytes) -> None:
    async with (
        running_ingress(is_trusted_proxy=lambda _: True) as ingress,
        ingress.client(greeted=False) as client,
    ):
        await client.send(line)
        assert await client.reply() == ""


async def test_a_proxy_line_from_elsewhere_is_just_an_unknown_command() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        assert (await client.say(V1.decode().strip())).startswith("500")
        await client.begin("dev@lists.test")
        await client.data(POST)
    assert ingress.intake.submissions[0].client.address == "127.0.0.1"
