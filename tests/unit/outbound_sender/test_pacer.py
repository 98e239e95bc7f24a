"""The rate: exact, smooth, and followed."""

from __future__ import annotations

import asyncio
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.outbound_sender.limits import Go, Limiter, Pacer, Wait
from shared.core.limits import NodeLimits

_rates = st.one_of(st.integers(1, 2000).map(float), st.floats(0.05, 2000))


def starts(rate: float, ask_after_seconds: list[float]) -> list[float]:
    """When messages start, if somebody asks again so long after each answer, or after what the answer said."""
    pacer = Pacer()
    pacer.set_rate(rate, 0.0)
    now, started = 0.0, list[float]()
    for idle_seconds in ask_after_seconds:
        now += idle_seconds
        answer = pacer.ask(now)
        if isinstance(answer, Wait):
            assert answer.seconds > 0
            assert answer.because == "max_messages_per_second"
            now += answer.seconds
            answer = pacer.ask(now)
            if isinstance(answer, Wait):  # by a rounding
                now += answer.seconds + 1e-9
                answer = pacer.ask(now)
        assert answer == Go()
        started.append(now)
    return started


def busiest_second(started: list[float]) -> int:
    """The most starts in any half-open window of one second."""
    return max(bisect_left(started, at + 1 - 1e-6) - index for index, at in enumerate(started))


@given(_rates, st.lists(st.floats(0, 0.3), min_size=1, max_size=400))
def test_in_no_second_more_start_than_allowed(rate: float, idle: list[float]) -> None:
    assert busiest_second(starts(rate, idle)) <= max(rate + 1, 1.05 * rate) + 1e-6


@given(_rates, st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_who_was_idle_has_nothing_saved_up(rate: float, idle: list[float]) -> None:
    assert busiest_second(starts(rate, [*idle, 100.0, *[0.0] * 300])) <= max(rate + 1, 1.05 * rate) + 1e-6


@given(_rates, st.floats(0, 0.2))
def test_who_always_asks_gets_the_whole_rate_although_late_by_a_little(rate: float, part: float) -> None:
    count = 500
    started = starts(rate, [part * min(0.25 / rate, 0.02)] * count)
    assert started[-1] == pytest.approx(count / rate, rel=0.02)


def test_the_bucket_starts_empty() -> None:
    pacer = Pacer()
    pacer.set_rate(2, 10.0)
    assert pacer.ask(10.0) == Wait(0.5, "max_messages_per_second")
    assert pacer.ask(10.5) == Go()
    assert isinstance(pacer.ask(10.5), Wait)


def test_without_a_rate_everything_goes() -> None:
    pacer = Pacer()
    pacer.set_rate(None, 0.0)
    assert [pacer.ask(0.0) for _ in range(1000)] == [Go()] * 1000
    assert pacer.wait_seconds(0.0) == 0


async def test_who_waits_for_a_turn_goes_as_soon_as_the_rate_is_lifted() -> None:
    limiter = Limiter()
    limiter.apply(NodeLimits(max_messages_per_second=0.01))
    turns = [asyncio.create_task(limiter.turn(lambda: True)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(turn.done() for turn in turns)
    limiter.apply(NodeLimits(max_messages_per_second=None))
    async with asyncio.timeout(5):
        assert await asyncio.gather(*turns) == [True] * 3


async def test_who_waits_for_a_turn_gives_up_as_soon_as_nothing_may_start() -> None:
    limiter, may_send = Limiter(), True
    limiter.apply(NodeLimits(max_messages_per_second=0.01))
    turns = [asyncio.create_task(limiter.turn(lambda: may_send)) for _ in range(3)]
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
        assert await asyncio.gather(*(limiter.turn(lambda: True) for _ in range(3))) == [False] * 3


async def test_a_node_that_may_start_nothing_soon_knows_how_long() -> None:
    limiter = Limiter()
    assert limiter.wait_seconds == 0
    limiter.apply(NodeLimits(max_messages_per_second=0.1))
    assert 9 < limiter.wait_seconds <= 10


async def test_the_capacity_is_what_connections_and_rate_allow() -> None:
    limiter = Limiter()
    limiter.apply(NodeLimits(max_connections=10))
    assert limiter.starts_per_second(0.1) == 100
    limiter.apply(NodeLimits(max_connections=10, max_messages_per_second=20))
    assert limiter.starts_per_second(0.1) == 20
