"""Megabits per second, as a peer measures them: all connections together, in every second."""

from __future__ import annotations

import asyncio

import pytest

from services.outbound_sender.bandwidth import Bandwidth
from services.outbound_sender.connection import Connection, Timeouts
from services.outbound_sender.dead_hosts import DeadHosts
from services.outbound_sender.transport import Terms, connect
from shared.core.delivery import OutcomeKind
from tests.fakes.scripted_peer import EXTENSIONS, Dialogue, scripted_peer
from tests.integration.transactions import on_loop, send, target_at

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
#: 200,000 bytes.
CONTENT = b"Subject: x\r\n\r\n" + b"x" * 199_979 + b"\r\n.\r\n" + b""
MEGABIT_BYTES = 125_000


async def connected(port: int, bandwidth: Bandwidth) -> Connection:
    opened = await connect(target_at(port), Terms("n.test", Timeouts(), bandwidth=bandwidth), DeadHosts())
    assert isinstance(opened, Connection), opened
    return opened


async def takes_it(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    await peer.take_envelope()
    await peer.take_content()
    await peer.say(b"250 queued\r\n")
    await peer.until_closed()


@LOOPS
async def test_connections_share_the_bandwidth_evenly_and_use_it(loop: str) -> None:
    async def scenario() -> None:
        bandwidth = Bandwidth()
        bandwidth.set_rate(8 * MEGABIT_BYTES)
        async with scripted_peer(takes_it) as peer:
            connections = [await connected(peer.port, bandwidth) for _ in range(5)]
            now_seconds = asyncio.get_running_loop().time
            began_seconds = now_seconds()
            ended_seconds = list[float]()

            async def send_one(connection: Connection) -> None:
                outcome = await send(connection, CONTENT)
                assert outcome.kind is OutcomeKind.DELIVERED
                ended_seconds.append(now_seconds() - began_seconds)

            await asyncio.gather(*(send_one(connection) for connection in connections))
            assert [dialogue.contents for dialogue in peer.dialogues] == [[CONTENT]] * 5
            # 1,000,000 bytes at 1,000,000 bytes a second: never in less than what the slack lets be made up for.
            assert ended_seconds[-1] >= 0.97
            assert ended_seconds[0] > 0.8 * ended_seconds[-1], "side by side, not one after the other"
            assert bandwidth.written_bytes == 5 * len(CONTENT)

    await on_loop(loop, scenario)


@LOOPS
async def test_a_limit_that_is_lifted_within_a_content_is_lifted_at_once(loop: str) -> None:
    async def scenario() -> None:
        bandwidth = Bandwidth()
        bandwidth.set_rate(1000)
        async with scripted_peer(takes_it) as peer:
            connection = await connected(peer.port, bandwidth)
            sending = asyncio.create_task(send(connection, CONTENT))
            while bandwidth.written_bytes < 50:  # noqa: ASYNC110 - nobody tells of bytes
                await asyncio.sleep(0.005)
            bandwidth.set_rate(None)
            async with asyncio.timeout(5):
                assert (await sending).kind is OutcomeKind.DELIVERED

    await on_loop(loop, scenario)


@LOOPS
async def test_a_peer_that_stops_reading_holds_nobody_up_and_stores_little(loop: str) -> None:
    async def reads_late(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.take_envelope()
        await may_read.wait()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")

    async def scenario() -> None:
        bandwidth = Bandwidth()
        bandwidth.set_rate(80 * MEGABIT_BYTES)
        big = CONTENT[:-5] + b"x" * 20_000_000 + CONTENT[-5:]
        async with scripted_peer(reads_late, takes_it) as peer:
            stalled = await connected(peer.port, bandwidth)
            sending = asyncio.create_task(send(stalled, big))
            before = -1
            while bandwidth.written_bytes != before:
                before = bandwidth.written_bytes
                await asyncio.sleep(0.2)
            assert stalled._stream._transport.get_write_buffer_size() <= (bandwidth.chunk_bytes or 0)
            async with asyncio.timeout(10):
                assert (await send(await connected(peer.port, bandwidth), CONTENT)).kind is OutcomeKind.DELIVERED
            may_read.set()
            async with asyncio.timeout(20):
                assert (await sending).kind is OutcomeKind.DELIVERED

    may_read = asyncio.Event()
    await on_loop(loop, scenario)
