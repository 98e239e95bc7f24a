"""The moments of a limited batch: none before its time, none late, none twice, and none by a doubtful clock."""

from __future__ import annotations

import pytest

from services.outbound_sender.moments import Moments
from shared.core.pacing import START_WITHIN_SECONDS
from shared.store.claims import BatchLimit


class Clock:
    def __init__(self) -> None:
        self.now_seconds = 100.0

    def __call__(self) -> float:
        return self.now_seconds


def moments(clock: Clock, count: int, *, first_in: float = 0.0, round_trip_seconds: float = 0.0) -> Moments:
    return Moments(
        BatchLimit("example.com", first_in, 1.0),
        count,
        asked_at_seconds=clock.now_seconds,
        answered_at_seconds=clock.now_seconds + round_trip_seconds,
        clock=clock,
    )


async def test_each_moment_is_for_one_message() -> None:
    clock = Clock()
    of_batch = moments(clock, 2)
    assert await of_batch.next(lambda: True)
    assert of_batch.take()
    assert not of_batch.take(), "the next one is a second later"
    clock.now_seconds += 1
    assert await of_batch.next(lambda: True)
    assert of_batch.take()
    clock.now_seconds += 1
    assert not await of_batch.next(lambda: True), "there is none left"


async def test_a_moment_that_was_missed_is_gone() -> None:
    clock = Clock()
    of_batch = moments(clock, 3)
    clock.now_seconds += 2
    assert await of_batch.next(lambda: True)
    assert of_batch.take()
    clock.now_seconds += 2
    assert not await of_batch.next(lambda: True), "two were missed, one was used"


async def test_who_comes_too_late_has_the_next_moment() -> None:
    clock = Clock()
    of_batch = moments(clock, 3)
    assert await of_batch.next(lambda: True)
    clock.now_seconds += START_WITHIN_SECONDS
    assert not of_batch.take()
    clock.now_seconds = 101.0
    assert await of_batch.next(lambda: True)
    assert of_batch.take()


async def test_nothing_starts_before_the_first_moment_whenever_the_database_counted_from() -> None:
    clock = Clock()
    of_batch = moments(clock, 1, first_in=0.2, round_trip_seconds=0.1)
    clock.now_seconds += 0.29
    assert not of_batch.take()
    clock.now_seconds += 0.02
    assert of_batch.take()


async def test_after_a_very_slow_answer_nothing_starts() -> None:
    clock = Clock()
    of_batch = moments(clock, 1, round_trip_seconds=START_WITHIN_SECONDS + 0.1)
    clock.now_seconds += START_WITHIN_SECONDS + 0.1
    assert not await of_batch.next(lambda: True)


async def test_who_waits_for_a_moment_stops_when_nothing_may_start_any_more() -> None:
    clock = Clock()
    assert not await moments(clock, 5, first_in=30.0).next(lambda: False)


@pytest.mark.parametrize("may_start", [True, False])
async def test_without_a_rate_every_moment_is_right(may_start: bool) -> None:
    clock = Clock()
    of_batch = Moments(BatchLimit("example.com"), 1, asked_at_seconds=0, answered_at_seconds=50, clock=clock)
    assert await of_batch.next(lambda: may_start) is may_start
    assert of_batch.take()
