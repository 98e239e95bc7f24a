"""From a domain to a connection: targets in order, STARTTLS where it is offered."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.local.dns_server import dns_server
from services.outbound_sender.bandwidth import Bandwidth
from services.outbound_sender.connection import Connection
from services.outbound_sender.dead_hosts import DeadHosts
from services.outbound_sender.host_places import HostFull, HostPlaces
from services.outbound_sender.next_hop import MxRoute, NextHop, RelayRoute
from services.outbound_sender.transport import Encryption, Terms, connect, opportunistic_tls
from shared.core.delivery import Outcome, OutcomeKind
from shared.dns.mx import MailHost, MxLookup, NoMailHost
from shared.dns.resolver import Resolver
from tests.fakes.scripted_peer import EXTENSIONS, Dialogue, ScriptedPeer, scripted_peer
from tests.integration.test_pipelined_transactions import BIG
from tests.integration.transactions import CONTENT, SHORT, on_loop, send, target_at

TERMS = Terms("node.test", SHORT)


@pytest.fixture(scope="session")
def peer_tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate that its peer signed itself, for another name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere.test")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    path: Path = tmp_path_factory.mktemp("tls") / "peer.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def takes_mail(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    await takes_transactions(peer)


async def takes_transactions(peer: Dialogue) -> None:
    while True:
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")


async def is_busy(peer: Dialogue) -> None:
    await peer.say(b"421 4.3.2 busy\r\n")


async def open_tls(peer: ScriptedPeer, bandwidth: Bandwidth | None = None) -> Connection | Outcome:
    terms = replace(TERMS, encryption=Encryption(opportunistic_tls()), bandwidth=bandwidth)
    return await connect(target_at(peer.port), terms, DeadHosts())


@pytest.mark.parametrize("is_paced", [False, True])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_mail_goes_encrypted_where_starttls_is_offered(
    loop: str, is_paced: bool, peer_tls: ssl.SSLContext
) -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet("STARTTLS", "PIPELINING")
        await peer.hear()
        await peer.say(b"220 go\r\n")
        await peer.start_tls(peer_tls)
        await peer.answer_ehlo(*EXTENSIONS)
        await takes_transactions(peer)

    async def scenario() -> None:
        bandwidth = Bandwidth()
        if is_paced:
            bandwidth.set_rate(len(BIG) * 4)
        async with scripted_peer(script) as peer:
            connection = await open_tls(peer, bandwidth)
            assert isinstance(connection, Connection)
            for content in (CONTENT, BIG, CONTENT):
                assert (await send(connection, content)).kind is OutcomeKind.DELIVERED
            connection.abort()
            assert peer.dialogues[0].contents == [CONTENT, BIG, CONTENT]
            # SIZE was offered after the handshake only.
            assert b" SIZE=" in peer.dialogues[0].commands[3]

    await on_loop(loop, scenario)


async def test_what_was_said_before_the_handshake_is_forgotten(peer_tls: ssl.SSLContext) -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet("STARTTLS", "8BITMIME", "SIZE 1")
        await peer.hear()
        await peer.say(b"220 go\r\n250-evil.test\r\n250-SIZE 1\r\n250 8BITMIME\r\n")
        await peer.start_tls(peer_tls)
        await peer.answer_ehlo("PIPELINING")
        await takes_transactions(peer)

    async with scripted_peer(script) as peer:
        connection = await open_tls(peer)
        assert isinstance(connection, Connection)
        assert (await send(connection, has_8bit=True)).kind is OutcomeKind.DELIVERED
        connection.abort()
        assert peer.dialogues[0].commands[2:4] == [b"EHLO node.test", b"MAIL FROM:<b+abc@list.test>"]


async def test_a_peer_that_answers_starttls_with_454_gets_its_mail_in_the_clear() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet("STARTTLS", *EXTENSIONS)
        await peer.hear()
        await peer.say(b"454 4.7.0 no TLS today\r\n")
        await takes_transactions(peer)

    async with scripted_peer(script) as peer:
        connection = await open_tls(peer)
        assert isinstance(connection, Connection)
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        connection.abort()
        assert len(peer.dialogues) == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("handshake", [b"this is no TLS\r\n", b""], ids=["garbage", "FIN"])
async def test_a_peer_whose_handshake_breaks_gets_its_mail_on_a_new_connection(loop: str, handshake: bytes) -> None:
    async def breaks(peer: Dialogue) -> None:
        await peer.greet("STARTTLS", *EXTENSIONS)
        await peer.hear()
        await peer.say(b"220 go\r\n")
        await peer.take_some_content()
        await peer.say(handshake)

    async def offers_again(peer: Dialogue) -> None:
        await peer.greet("STARTTLS", *EXTENSIONS)
        await takes_transactions(peer)

    async def scenario() -> None:
        async with scripted_peer(breaks, offers_again) as peer:
            connection = await open_tls(peer)
            assert isinstance(connection, Connection)
            assert (await send(connection)).kind is OutcomeKind.DELIVERED
            connection.abort()
            assert peer.dialogues[1].commands[1].startswith(b"MAIL")

    await on_loop(loop, scenario)


@pytest.mark.parametrize("host", [".leading.dot", "x" * 64 + ".test", "under_score.test", "a..b"])
async def test_a_host_that_is_no_tls_server_name_harms_nobody(host: str, peer_tls: ssl.SSLContext) -> None:
    async def offers_tls(peer: Dialogue) -> None:
        await peer.greet("STARTTLS", *EXTENSIONS)
        await peer.hear()
        if peer.commands[-1] == b"STARTTLS":
            await peer.say(b"220 go\r\n")
            await peer.start_tls(peer_tls)
            await peer.answer_ehlo(*EXTENSIONS)
            await peer.until_closed()

    async with scripted_peer(offers_tls) as peer:
        terms = replace(TERMS, encryption=Encryption(opportunistic_tls()))
        opened = await connect(target_at(peer.port, host), terms, DeadHosts())
        assert isinstance(opened, Connection)
        opened.abort()


async def test_the_relay_takes_mail_for_every_domain() -> None:
    async with scripted_peer(takes_mail) as peer:
        next_hop = NextHop(RelayRoute("localhost", peer.port), TERMS)
        connection = await next_hop.open_connection("anything.test")
        assert isinstance(connection, Connection)
        assert connection.host == "localhost"
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        connection.abort()


async def test_a_relay_without_an_address_is_a_deferral() -> None:
    next_hop = NextHop(RelayRoute("no-such-relay.invalid", 25), TERMS)
    outcome = await next_hop.open_connection("x.test")
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.DEFERRED


class FixedHosts:
    def __init__(self, *addresses: str) -> None:
        self._found = tuple(MailHost(f"mx{n}.x.test", address) for n, address in enumerate(addresses))

    async def mail_hosts(self, domain: str) -> tuple[MailHost, ...] | NoMailHost:
        return self._found or NoMailHost(True, "5.1.10", f"{domain} takes no mail (null MX)")


async def test_the_next_host_is_tried_after_421_and_after_a_refused_connection() -> None:
    async with scripted_peer(is_busy, takes_mail) as peer:
        # Nothing listens at the first host; the second and the third are the same peer.
        route = MxRoute(FixedHosts("127.9.9.9", "127.0.0.1", "127.0.0.1"), peer.port)
        connection = await NextHop(route, TERMS).open_connection("x.test")
        assert isinstance(connection, Connection)
        assert connection.host == "mx2.x.test"
        connection.abort()
        assert len(peer.dialogues) == 2


async def test_when_no_host_gives_service_the_last_failure_is_the_outcome() -> None:
    async with scripted_peer(is_busy) as peer:
        route = MxRoute(FixedHosts("127.9.9.9", "127.0.0.1"), peer.port)
        outcome = await NextHop(route, TERMS).open_connection("x.test")
        assert isinstance(outcome, Outcome)
        assert outcome.kind is OutcomeKind.DEFERRED
        assert outcome.remote_host == "mx1.x.test"
        assert str(outcome.reply) == "421 4.3.2 busy"


async def test_a_host_that_has_its_connections_is_waited_for_and_not_gone_round() -> None:
    async with scripted_peer(takes_mail) as peer:
        places = HostPlaces()
        places.limit(1)
        route = MxRoute(FixedHosts("127.0.0.1", "127.9.9.9"), peer.port)
        next_hop = NextHop(route, TERMS, places=places)
        first = await next_hop.open_connection("x.test")
        assert isinstance(first, Connection)
        assert isinstance(await next_hop.open_connection("other.test"), HostFull)
        assert len(peer.dialogues) == 1
        first.abort()
        places.give_back(first.hosts)
        again = await next_hop.open_connection("other.test")
        assert isinstance(again, Connection)
        again.abort()


async def test_a_host_that_gives_no_service_takes_no_place() -> None:
    async with scripted_peer(is_busy, is_busy, takes_mail) as peer:
        places = HostPlaces()
        places.limit(1)
        route = MxRoute(FixedHosts("127.0.0.1"), peer.port)
        next_hop = NextHop(route, TERMS, places=places)
        for _ in range(2):
            assert isinstance(await next_hop.open_connection("x.test"), Outcome)
        connection = await next_hop.open_connection("x.test")
        assert isinstance(connection, Connection)
        connection.abort()


async def test_a_domain_that_takes_no_mail_is_a_refusal() -> None:
    outcome = await NextHop(MxRoute(FixedHosts()), TERMS).open_connection("x.test")
    assert outcome == Outcome(OutcomeKind.REFUSED, "5.1.10 x.test takes no mail (null MX)")


async def test_mail_finds_its_way_by_mx_records() -> None:
    records: dict[tuple[str, str], list[str] | str] = {
        ("x.test", "MX"): ["10 mx.x.test."],
        ("mx.x.test", "A"): ["127.0.0.1"],
    }
    async with dns_server(records) as server, scripted_peer(takes_mail) as peer:
        lookup = MxLookup(Resolver(("127.0.0.1", server.port)), allow_private_hosts=True)
        next_hop = NextHop(MxRoute(lookup, peer.port), TERMS)
        connection = await next_hop.open_connection("x.test")
        assert isinstance(connection, Connection)
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        connection.abort()
