"""Moments: exact in every window, whoever starts how late, and dealt out to as few connections as will do."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.core.pacing import ARRIVE_WITHIN_SECONDS, BLOCK_SECONDS, courses, interval_seconds


@given(
    st.integers(1, 3000),
    st.sampled_from([60.0, 3600.0]),
    st.lists(st.floats(0, 0.999 * ARRIVE_WITHIN_SECONDS), min_size=1, max_size=200),
)
def test_no_window_has_more_messages_than_the_limit_however_late_each_arrives(
    messages: int, window_seconds: float, lateness: list[float]
) -> None:
    interval = interval_seconds(messages, window_seconds)
    arrivals = sorted(
        moment * interval + lateness[moment % len(lateness)] for moment in range(min(2 * messages + 10, 4000))
    )
    busiest = max(bisect_left(arrivals, first + window_seconds) - place for place, first in enumerate(arrivals))
    assert busiest <= messages


@given(st.integers(1, 5000), st.integers(1, 100_000), st.integers(1, 50), st.integers(1, 100))
def test_a_block_gives_each_moment_to_one_message(
    waiting: int, per_minute: int, connections: int, at_most: int
) -> None:
    interval = interval_seconds(per_minute, 60)
    dealt = courses(waiting, interval_seconds=interval, connections=connections, at_most=at_most)
    moments = sorted(
        course.starts_after_seconds + place * course.interval_seconds
        for course in dealt
        for place in range(course.size)
    )
    assert 1 <= len(moments) <= waiting
    assert len(dealt) <= connections
    assert all(1 <= course.size <= at_most for course in dealt)
    assert moments[0] == 0
    assert moments[-1] <= BLOCK_SECONDS + 1e-6
    assert all(abs(later - earlier - interval) < 1e-6 for earlier, later in pairwise(moments))


def test_a_slow_rate_has_one_connection_and_a_fast_one_as_many_as_a_second_has_messages() -> None:
    assert len(courses(1000, interval_seconds=1.0, connections=10, at_most=100)) == 1
    assert len(courses(1000, interval_seconds=0.2, connections=10, at_most=100)) == 5
    assert len(courses(1000, interval_seconds=0.01, connections=10, at_most=100)) == 10


def test_few_messages_a_connection_make_more_connections() -> None:
    dealt = courses(1000, interval_seconds=1.0, connections=10, at_most=2)
    assert [course.size for course in dealt] == [2, 2, 2, 2]
