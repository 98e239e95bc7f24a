"""The pace: exact, smooth, and followed; by a virtual clock."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.limits import Limit
from shared.core.pacer import Go, Pacer, Wait, pace_per_hour, pace_per_second

_rates = st.one_of(st.integers(1, 2000).map(float), st.floats(0.05, 2000))


def new_pacer() -> Pacer:
    return Pacer(Limit.MAX_MESSAGES_PER_SECOND)


def per_second(rate: float) -> Pacer:
    pacer = new_pacer()
    pace_per_second(pacer, rate, 0.0)
    return pacer


def per_hour(count: int) -> Pacer:
    pacer = new_pacer()
    pace_per_hour(pacer, count, 0.0)
    return pacer


def starts(pacer: Pacer, idle_seconds: list[float], units: list[float] | None = None) -> list[float]:
    """When something starts, if somebody asks again so long after each start."""
    now, started = 0.0, list[float]()
    for number, idle in enumerate(idle_seconds):
        now += idle
        while isinstance(answer := pacer.answer(now), Wait):
            assert answer.seconds > 0
            now += answer.seconds + 1e-9
        pacer.take(now, units[number] if units else 1)
        started.append(now)
    return started


def busiest(started: list[float], window_seconds: float) -> int:
    """The most starts in any half-open window of that length."""
    return max(bisect_left(started, at + window_seconds - 1e-6) - index for index, at in enumerate(started))


@given(_rates, st.lists(st.floats(0, 0.3), min_size=1, max_size=400))
def test_in_no_second_more_start_than_allowed(rate: float, idle: list[float]) -> None:
    assert busiest(starts(per_second(rate), idle), 1) <= max(rate + 1, 1.05 * rate) + 1e-6


@given(_rates, st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_who_was_idle_has_nothing_saved_up(rate: float, idle: list[float]) -> None:
    started = starts(per_second(rate), [*idle, 100.0, *[0.0] * 300])
    assert busiest(started, 1) <= max(rate + 1, 1.05 * rate) + 1e-6


@given(_rates, st.floats(0, 0.2))
def test_who_always_asks_gets_the_whole_rate_although_late_by_a_little(rate: float, part: float) -> None:
    count = 500
    started = starts(per_second(rate), [part * min(0.25 / rate, 0.02)] * count)
    assert started[-1] == pytest.approx(count / rate, rel=0.02)


@given(st.integers(1, 300), st.lists(st.floats(0, 7200), min_size=1, max_size=40))
def test_in_no_hour_more_start_than_allowed_however_long_nobody_asked(count: int, idle: list[float]) -> None:
    assert busiest(starts(per_hour(count), [*idle, *[0.0] * (2 * count)]), 3600) <= count + 1


@given(st.integers(1, 5_000_000))
def test_an_hours_messages_are_spread_over_it(count: int) -> None:
    started = starts(per_hour(count), [0.0] * 500)
    assert busiest(started, 1) <= count / 3600 + 1.25
    assert started[-1] == pytest.approx(500 * 3600 / count, rel=0.001)
    assert started[0] == pytest.approx(3600 / count, rel=0.001), "no burst at its start"


@given(
    st.floats(1, 1e6),
    st.floats(0, 0.5),
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(0.01, 0.1)), min_size=1, max_size=200),
)
def test_in_no_window_start_more_units_than_rate_and_slack_and_the_last(
    rate: float, slack: float, asked: list[tuple[float, float]]
) -> None:
    pacer = new_pacer()
    pacer.set_rate(rate, 0.0, slack_seconds=slack)
    units = [part * rate for _, part in asked]
    started = starts(pacer, [idle for idle, _ in asked], units)
    for first, at in enumerate(started):
        last = bisect_left(started, at + 1 - 1e-6) - 1
        assert sum(units[first:last]) <= rate * (1 + slack) * 1.000001


def test_the_bucket_starts_empty() -> None:
    pacer = new_pacer()
    pace_per_second(pacer, 2, 10.0)
    assert pacer.answer(10.0) == Wait(0.5, Limit.MAX_MESSAGES_PER_SECOND)
    assert pacer.answer(10.5) == Go()
    pacer.take(10.5)
    assert isinstance(pacer.answer(10.5), Wait)


def test_asking_takes_nothing() -> None:
    pacer = per_second(2)
    assert [pacer.answer(0.5) for _ in range(3)] == [Go()] * 3


def test_without_a_rate_everything_goes() -> None:
    for pace in (pace_per_second, pace_per_hour):
        pacer = new_pacer()
        pace(pacer, None, 0.0)
        for _ in range(1000):
            assert pacer.answer(0.0) == Go()
            pacer.take(0.0)
