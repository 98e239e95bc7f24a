"""The node's limits in force, and the queue of those that want to start."""

from __future__ import annotations

import asyncio

import pytest

from services.outbound_sender.limits import Limiter
from shared.core.limits import Limit, NodeLimits
from shared.core.pacer import Go, Wait


async def test_who_waits_for_a_turn_goes_as_soon_as_the_rate_is_lifted() -> None:
    limiter = Limiter()
    limiter.apply(NodeLimits(max_messages_per_second=0.01))
    turns = [asyncio.create_task(limiter.turn(1000, lambda: True)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(turn.done() for turn in turns)
    limiter.apply(NodeLimits(max_messages_per_second=None))
    async with asyncio.timeout(5):
        assert await asyncio.gather(*turns) == [True] * 3


async def test_who_waits_for_a_turn_gives_up_as_soon_as_nothing_may_start() -> None:
    limiter, may_send = Limiter(), True
    limiter.apply(NodeLimits(max_messages_per_second=0.01))
    turns = [asyncio.create_task(limiter.turn(1000, lambda: may_send)) for _ in range(3)]
    await asyncio.sleep(0)
    may_send = False
    limiter.wake()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*turns) == [False] * 3


async def test_who_waits_too_long_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.outbound_sender.limits.PATIENCE_SECONDS", 0.02)
    limiter = Limiter()
    limiter.apply(NodeLimits(max_messages_per_second=0.01))
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(limiter.turn(1000, lambda: True) for _ in range(3))) == [False] * 3


async def test_a_node_that_may_start_nothing_soon_knows_how_long_and_why() -> None:
    limiter = Limiter()
    assert limiter.answer() == Go()
    limiter.apply(NodeLimits(max_messages_per_second=0.1))
    answer = limiter.answer()
    assert isinstance(answer, Wait)
    assert 9 < answer.seconds <= 10
    limiter.apply(NodeLimits(max_messages_per_second=0.1, max_messages_per_hour=60))
    answer = limiter.answer()
    assert isinstance(answer, Wait)
    assert answer.because is Limit.MAX_MESSAGES_PER_HOUR, "the one to wait for longest"
    limiter.apply(NodeLimits())
    assert limiter.answer() == Go()


async def test_with_limited_megabits_no_more_content_starts_than_is_soon_written() -> None:
    limiter = Limiter()
    limiter.apply(NodeLimits(max_megabits_per_second=8))
    started = 0
    while isinstance(limiter.answer(), Go):
        assert await limiter.turn(250_000, lambda: True)
        started += 1
    assert 4 <= started <= 6, "one second's content of 1,000,000 bytes, and one message more"
    answer = limiter.answer()
    assert isinstance(answer, Wait)
    assert answer.because is Limit.MAX_MEGABITS_PER_SECOND


async def test_a_message_larger_than_a_seconds_content_starts_too() -> None:
    limiter = Limiter()
    limiter.apply(NodeLimits(max_megabits_per_second=0.08))
    assert await limiter.turn(1_000_000, lambda: True)
    answer = limiter.answer()
    assert isinstance(answer, Wait)
    assert 95 < answer.seconds < 105


async def test_who_waits_is_counted_with_the_reason() -> None:
    limiter, may_start = Limiter(), True
    limiter.apply(NodeLimits(max_messages_per_hour=1))
    turns = [asyncio.create_task(limiter.turn(1000, lambda: may_start)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (limiter.waiting, limiter.last_reason) == (3, Limit.MAX_MESSAGES_PER_HOUR)
    may_start = False
    limiter.wake()
    async with asyncio.timeout(5):
        await asyncio.gather(*turns)
    assert limiter.waiting == 0


async def test_the_capacity_is_what_connections_and_rates_allow() -> None:
    limiter = Limiter()
    limiter.apply(NodeLimits(max_connections=10))
    assert limiter.starts_per_second(0.1) == 100
    limiter.apply(NodeLimits(max_connections=10, max_messages_per_second=20))
    assert limiter.starts_per_second(0.1) == 20
    limiter.apply(NodeLimits(max_connections=10, max_messages_per_second=20, max_messages_per_hour=36_000))
    assert limiter.starts_per_second(0.1) == 10
    limiter.apply(NodeLimits(max_connections=10, max_megabits_per_second=8))
    assert await limiter.turn(200_000, lambda: True)
    assert limiter.starts_per_second(0.1) == 5


def test_a_relay_is_one_host() -> None:
    limits = NodeLimits(max_connections=10, max_connections_per_host=3)
    to_relay, to_anybody = Limiter(has_one_host=True), Limiter()
    to_relay.limits = to_anybody.limits = limits
    assert (to_relay.connections, to_relay.limit_of_slots) == (3, Limit.MAX_CONNECTIONS_PER_HOST)
    assert (to_anybody.connections, to_anybody.limit_of_slots) == (10, Limit.MAX_CONNECTIONS)
