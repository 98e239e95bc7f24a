"""Which of a domain's addresses a connection goes to, and from which of ours."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from dataclasses import replace

import pytest

from services.outbound_sender.connection import Connection
from services.outbound_sender.dead_hosts import DEAD_SECONDS, DeadHosts
from services.outbound_sender.dialing import FALL_BACK_SECONDS, is_ours
from services.outbound_sender.kept_connection import LimitedHost
from services.outbound_sender.next_hop import MAX_TIMEOUTS, MxRoute, NextHop, RelayRoute
from services.outbound_sender.source_addresses import SourceAddresses
from services.outbound_sender.transport import Target, Terms, connect
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.domain_limit import DomainLimits
from shared.dns.mx import MailHost, NoMailHost
from tests.fakes.scripted_peer import EXTENSIONS, Dialogue, black_hole, scripted_peer
from tests.integration.transactions import SHORT, on_loop, send, until

TERMS = Terms("node.test", SHORT)
LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
#: Nobody listens there.
EMPTY = "127.9.9.9"


class Hosts:
    """Mail hosts as a test names them: `name/address`."""

    def __init__(self, *hosts: str) -> None:
        self.found = tuple(MailHost(*host.split("/")) for host in hosts)

    async def mail_hosts(self, domain: str) -> tuple[MailHost, ...] | NoMailHost:  # noqa: ARG002 - for all domains
        return self.found


async def takes_mail(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    while True:
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")


async def says_nothing(peer: Dialogue) -> None:
    await peer.until_closed()


async def is_busy(peer: Dialogue) -> None:
    await peer.say(b"421 4.7.0 not from your address\r\n")


async def opened(next_hop: NextHop, domain: str = "x.test") -> str:
    """The host that the connection went to."""
    connection = await next_hop.open_connection(domain)
    assert isinstance(connection, Connection), connection
    connection.abort()
    return connection.host


@LOOPS
async def test_an_address_that_does_not_answer_costs_a_quarter_of_a_second(loop: str) -> None:
    async def scenario() -> None:
        async with scripted_peer(takes_mail) as peer:
            with black_hole("127.0.0.2", peer.port):
                target = Target("peer.test", ("127.0.0.2", "127.0.0.1"), peer.port)
                began = time.monotonic()
                connection = await connect(target, TERMS, DeadHosts())
                assert isinstance(connection, Connection), connection
                assert FALL_BACK_SECONDS <= time.monotonic() - began < SHORT.connect_seconds
                assert (await send(connection)).kind is OutcomeKind.DELIVERED
                connection.abort()

    await on_loop(loop, scenario)


async def test_ipv6_goes_first_and_ipv4_follows_at_once_where_it_is_refused() -> None:
    async with scripted_peer(takes_mail) as peer:
        target = Target("peer.test", ("::1", "127.0.0.1"), peer.port)
        dead = DeadHosts()
        connection = await connect(target, TERMS, dead)
        assert isinstance(connection, Connection), connection
        connection.abort()
        assert dead.why("::1") is not None
        assert dead.why("127.0.0.1") is None


async def test_a_host_whose_first_address_gives_no_service_is_asked_at_its_second() -> None:
    async with scripted_peer(takes_mail) as peer, scripted_peer(is_busy, host="127.0.0.2", port=peer.port) as busy:
        connection = await connect(Target("peer.test", ("127.0.0.2", "127.0.0.1"), peer.port), TERMS, DeadHosts())
        assert isinstance(connection, Connection), connection
        connection.abort()
        assert len(busy.dialogues) == 1


async def test_a_slow_peer_delays_nobody_else() -> None:
    patient = replace(SHORT, command_seconds=30)
    async with scripted_peer(says_nothing) as tarpit, scripted_peer(takes_mail) as peer:
        slow = [
            asyncio.create_task(
                connect(Target("slow.test", ("127.0.0.1",), tarpit.port), Terms("node.test", patient), DeadHosts())
            )
            for _ in range(50)
        ]
        await until(lambda: len(tarpit.dialogues) == 50)
        connection = await connect(Target("peer.test", ("127.0.0.1",), peer.port), TERMS, DeadHosts())
        assert isinstance(connection, Connection), connection
        for _ in range(20):
            assert (await send(connection)).kind is OutcomeKind.DELIVERED
        connection.abort()
        for task in slow:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_where_nobody_answered_nobody_is_asked_again_for_minutes() -> None:
    async with scripted_peer(takes_mail) as peer, scripted_peer(says_nothing, host="127.0.0.2", port=peer.port) as mute:
        next_hop = NextHop(MxRoute(Hosts("mute.test/127.0.0.2", "mx.test/127.0.0.1"), peer.port), TERMS)
        assert [await opened(next_hop) for _ in range(3)] == ["mx.test"] * 3
        assert len(mute.dialogues) == 1


async def test_a_domain_whose_only_host_is_dead_is_deferred_at_once() -> None:
    async with scripted_peer(says_nothing) as mute:
        next_hop = NextHop(MxRoute(Hosts("mute.test/127.0.0.1"), mute.port), TERMS)
        first, second = await next_hop.open_connection("x.test"), await next_hop.open_connection("y.test")
        assert first == Outcome(OutcomeKind.DEFERRED, "no answer in time before MAIL", None, "mute.test")
        assert isinstance(second, Outcome)
        assert second.because == "no answer in time before MAIL (found within the last minutes)"
        assert len(mute.dialogues) == 1


async def test_of_many_hosts_that_keep_us_waiting_a_few_are_waited_for() -> None:
    hosts = [f"mute{number}.test/127.0.0.{number}" for number in range(2, 8)]
    async with scripted_peer(says_nothing, host="0.0.0.0") as mute:  # noqa: S104 - all of 127/8
        next_hop = NextHop(MxRoute(Hosts(*hosts), mute.port), TERMS)
        outcome = await next_hop.open_connection("x.test")
        assert isinstance(outcome, Outcome)
        assert outcome.because == "no answer in time before MAIL"
        assert 2 <= len(mute.dialogues) <= MAX_TIMEOUTS + 1
        # The next recipient goes on where this one stopped.
        await next_hop.open_connection("x.test")
        assert len({dialogue.server for dialogue in mute.dialogues}) == len(mute.dialogues) > MAX_TIMEOUTS + 1


async def test_a_host_that_says_421_is_not_dead() -> None:
    async with scripted_peer(is_busy, takes_mail) as peer:
        next_hop = NextHop(MxRoute(Hosts("mx.test/127.0.0.1"), peer.port), TERMS)
        refused = await next_hop.open_connection("x.test")
        assert isinstance(refused, Outcome)
        assert (refused.kind, refused.reply and refused.reply.code) == (OutcomeKind.DEFERRED, 421)
        assert await opened(next_hop) == "mx.test"


async def test_the_relay_is_tried_again_and_again() -> None:
    async with scripted_peer(says_nothing, takes_mail) as peer:
        next_hop = NextHop(RelayRoute("127.0.0.1", peer.port), TERMS)
        assert isinstance(await next_hop.open_connection("x.test"), Outcome)
        assert await opened(next_hop) == "127.0.0.1"


def test_a_dead_host_is_tried_again_after_minutes_and_before_the_first_retry() -> None:
    now = 1000.0
    dead = DeadHosts(lambda: now)
    dead.add("192.0.2.1", "no connection in time")
    now += DEAD_SECONDS - 1
    assert dead.why("192.0.2.1") == "no connection in time"
    now += 2
    assert dead.why("192.0.2.1") is None
    assert DEAD_SECONDS < 300 * 0.9


async def test_a_domain_is_reached_from_one_source_and_others_from_others() -> None:
    sources = SourceAddresses(["127.0.0.11", "127.0.0.12", "127.0.0.13"])
    async with scripted_peer(takes_mail) as peer:
        next_hop = NextHop(MxRoute(Hosts("mx.test/127.0.0.1"), peer.port), TERMS, sources=sources)
        for _ in range(2):
            for number in range(20):
                await opened(next_hop, f"domain{number}.test")
        clients = [dialogue.client for dialogue in peer.dialogues]
        assert clients[:20] == clients[20:]
        assert set(clients) == {"127.0.0.11", "127.0.0.12", "127.0.0.13"}


async def test_who_refuses_one_source_is_asked_from_the_next() -> None:
    sources = SourceAddresses(["127.0.0.11", "127.0.0.12"])
    async with scripted_peer(is_busy, takes_mail) as peer:
        await opened(NextHop(MxRoute(Hosts("mx.test/127.0.0.1"), peer.port), TERMS, sources=sources))
        first, second = [dialogue.client for dialogue in peer.dialogues]
        assert {first, second} == {"127.0.0.11", "127.0.0.12"}


async def test_a_source_address_that_went_away_is_not_used() -> None:
    sources = SourceAddresses(["192.0.2.77", "127.0.0.12"])
    async with scripted_peer(takes_mail) as peer:
        next_hop = NextHop(MxRoute(Hosts("mx.test/127.0.0.1"), peer.port), TERMS, sources=sources)
        for number in range(5):
            await opened(next_hop, f"domain{number}.test")
        assert {dialogue.client for dialogue in peer.dialogues} == {"127.0.0.12"}
        lost = NextHop(
            MxRoute(Hosts("mx.test/127.0.0.1"), peer.port), TERMS, sources=SourceAddresses(["192.0.2.77", "::1"])
        )
        outcome = await lost.open_connection("x.test")
        assert isinstance(outcome, Outcome)
        assert outcome.because == "none of this node's source addresses can be used"
        # It was our fault, and nobody is dead.
        assert isinstance(await next_hop.open_connection("x.test"), Connection)


async def test_between_two_limits_of_mail_hosts_a_recipient_goes_on_and_never_back() -> None:
    async with (
        scripted_peer(is_busy) as first,
        scripted_peer(is_busy, takes_mail, host="127.0.0.2", port=first.port) as second,
    ):
        hosts = Hosts("m1.a.test/127.0.0.1", "m2.b.test/127.0.0.2", "m3.a.test/127.0.0.1")
        limits = DomainLimits(["mx:*.a.test", "mx:*.b.test"])
        next_hop = NextHop(MxRoute(hosts, first.port), TERMS, domain_limits=lambda: limits)
        assert await next_hop.open_connection("x.test") == LimitedHost("mx:*.a.test")
        assert await next_hop.open_connection("x.test", "mx:*.a.test") == LimitedHost("mx:*.b.test")
        refused = await next_hop.open_connection("x.test", "mx:*.b.test")
        assert isinstance(refused, Outcome)  # An attempt that counts, and is waited after.
        assert refused.remote_host == "m2.b.test"
        connection = await next_hop.open_connection("x.test", "mx:*.b.test")
        assert isinstance(connection, Connection), connection
        connection.abort()
        assert (len(first.dialogues), len(second.dialogues)) == (1, 2)


async def test_a_fault_of_this_node_makes_nobody_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted_peer(takes_mail) as peer:
        target, dead = Target("peer.test", ("127.0.0.1",), peer.port), DeadHosts()
        outcome = await connect(target, replace(TERMS, source_for=lambda _address: "192.0.2.77"), dead)
        assert isinstance(outcome, Outcome)
        assert outcome.because == "no connection: Cannot assign requested address"
        assert dead.why("127.0.0.1") is None

        async def no_descriptor(*_arguments: object) -> socket.socket:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patched:
            patched.setattr("services.outbound_sender.dialing._connected", no_descriptor)
            outcome = await connect(target, TERMS, dead)
        assert isinstance(outcome, Outcome)
        assert outcome.because == "no connection: Too many open files"
        assert dead.why("127.0.0.1") is None


def test_an_address_of_this_machine_is_known() -> None:
    assert is_ours("127.0.0.1")
    assert not is_ours("192.0.2.77")
    assert not is_ours("2001:db8::77")
