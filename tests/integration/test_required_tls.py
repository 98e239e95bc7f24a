"""Where TLS is required nothing goes out without, and a relay's password goes to the relay only."""

from __future__ import annotations

import base64
import datetime
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.outbound_sender.connection import Connection
from services.outbound_sender.next_hop import MxRoute, NextHop, RelayRoute
from services.outbound_sender.transport import Login, Terms
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.tls_policy import TlsPolicy
from tests.fakes.scripted_peer import EXTENSIONS, Dialogue, Script, scripted_peer
from tests.integration.test_ways_to_a_host import Hosts
from tests.integration.transactions import SHORT, on_loop, send

TERMS = Terms("node.test", SHORT)
NAME = "mx.peer.test"
PASSWORD = "a secret of the relay"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of `NAME`, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME), x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    path = tmp_path_factory.mktemp("tls") / "peer.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture(scope="session")
def trusting(certificate: Path) -> Callable[[], ssl.SSLContext]:
    """A context that trusts the peer's certificate, and checks that it is the host's."""
    return lambda: ssl.create_default_context(cafile=str(certificate))


def tls_peer(certificate: Path, *, login: bytes | None = None) -> Script:
    async def script(peer: Dialogue) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        await peer.greet("STARTTLS", *EXTENSIONS)
        await peer.hear()
        await peer.say(b"220 go\r\n")
        await peer.start_tls(context)
        await peer.answer_ehlo(*EXTENSIONS, *(["AUTH PLAIN LOGIN"] if login else []))
        if login:
            await peer.hear()
            await peer.say(login)
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
        await peer.until_closed()

    return script


async def offers_no_tls(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS, "AUTH PLAIN LOGIN")
    await peer.hear()
    await peer.say(b"235 2.7.0 welcome\r\n")
    await peer.until_closed()


async def has_no_tls_today(peer: Dialogue) -> None:
    await peer.greet("STARTTLS", *EXTENSIONS)
    await peer.hear()
    await peer.say(b"454 4.7.0 no TLS today\r\n")
    await peer.until_closed()


def requiring(port: int, verified_tls: Callable[[], ssl.SSLContext], host: str = NAME) -> NextHop:
    """TLS is required for x.test only."""
    return NextHop(
        MxRoute(Hosts(f"{host}/127.0.0.1"), port),
        TERMS,
        policy=lambda domain: TlsPolicy.REQUIRED if domain == "x.test" else TlsPolicy.OPPORTUNISTIC,
        verified_tls=verified_tls,
    )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_mail_goes_where_the_certificate_is_the_hosts(
    loop: str, certificate: Path, trusting: Callable[[], ssl.SSLContext]
) -> None:
    async def scenario() -> None:
        async with scripted_peer(tls_peer(certificate)) as peer:
            connection = await requiring(peer.port, trusting).open_connection("x.test")
            assert isinstance(connection, Connection), connection
            assert (await send(connection)).kind is OutcomeKind.DELIVERED
            connection.abort()

    await on_loop(loop, scenario)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_certificate_for_another_name_or_by_nobody_we_trust_defers(
    loop: str, certificate: Path, trusting: Callable[[], ssl.SSLContext]
) -> None:
    async def scenario() -> None:
        async with scripted_peer(tls_peer(certificate)) as peer:
            for next_hop in (
                requiring(peer.port, trusting, host="mx.elsewhere.test"),
                requiring(peer.port, ssl.create_default_context),
            ):
                outcome = await next_hop.open_connection("x.test")
                assert isinstance(outcome, Outcome)
                assert outcome.kind is OutcomeKind.DEFERRED
                assert outcome.because.startswith("TLS is required and failed: ")
                assert "certificate" in outcome.because
                # The same host takes the mail of domains that demand nothing.
                connection = await next_hop.open_connection("y.test")
                assert isinstance(connection, Connection), connection
                connection.abort()

    await on_loop(loop, scenario)


@pytest.mark.parametrize("script", [offers_no_tls, has_no_tls_today], ids=["not offered", "454"])
async def test_a_host_without_tls_gets_nothing_in_the_clear(
    script: Script, trusting: Callable[[], ssl.SSLContext]
) -> None:
    async with scripted_peer(script) as peer:
        outcome = await requiring(peer.port, trusting).open_connection("x.test")
        assert isinstance(outcome, Outcome)
        assert outcome.kind is OutcomeKind.DEFERRED
        assert len(peer.dialogues) == 1
        assert not any(command.startswith(b"MAIL") for command in peer.dialogues[0].commands)


def relay(port: int, verified_tls: Callable[[], ssl.SSLContext], policy: TlsPolicy = TlsPolicy.REQUIRED) -> NextHop:
    terms = replace(TERMS, login=Login("listfleet", PASSWORD))
    return NextHop(RelayRoute("localhost", port), terms, policy=lambda _domain: policy, verified_tls=verified_tls)


async def test_the_relay_is_told_the_password_after_the_handshake(
    certificate: Path, trusting: Callable[[], ssl.SSLContext]
) -> None:
    async with scripted_peer(tls_peer(certificate, login=b"235 2.7.0 welcome\r\n")) as peer:
        connection = await relay(peer.port, trusting).open_connection("x.test")
        assert isinstance(connection, Connection), connection
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        connection.abort()
        mechanism, _, words = peer.dialogues[0].commands[3].rpartition(b" ")
        assert mechanism == b"AUTH PLAIN"
        assert base64.b64decode(words) == f"\0listfleet\0{PASSWORD}".encode()


async def test_the_password_is_not_said_in_the_clear(trusting: Callable[[], ssl.SSLContext]) -> None:
    async with scripted_peer(offers_no_tls) as peer:
        outcome = await relay(peer.port, trusting).open_connection("x.test")
        assert isinstance(outcome, Outcome)
        assert outcome.because == "TLS is required and was not offered"
        assert peer.dialogues[0].commands == [b"EHLO node.test"]
        allowed = await relay(peer.port, trusting, TlsPolicy.OPPORTUNISTIC).open_connection("x.test")
        assert isinstance(allowed, Connection), allowed
        allowed.abort()


async def test_a_relay_that_does_not_know_us_defers(certificate: Path, trusting: Callable[[], ssl.SSLContext]) -> None:
    async with scripted_peer(tls_peer(certificate, login=b"535 5.7.8 who are you\r\n")) as peer:
        outcome = await relay(peer.port, trusting).open_connection("x.test")
        assert isinstance(outcome, Outcome)
        assert outcome.kind is OutcomeKind.DEFERRED


async def test_a_relay_without_auth_defers(certificate: Path, trusting: Callable[[], ssl.SSLContext]) -> None:
    async with scripted_peer(tls_peer(certificate)) as peer:
        outcome = await relay(peer.port, trusting).open_connection("x.test")
        assert isinstance(outcome, Outcome)
        assert outcome.because == "a password is set, and AUTH was not offered"
