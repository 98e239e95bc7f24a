"""When a deferred delivery is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.core.retry import JITTER, SCHEDULE_SECONDS, retry_after_seconds


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_the_schedules_give_or_take_a_tenth(attempt: int, random: float) -> None:
    scheduled = SCHEDULE_SECONDS[min(attempt, len(SCHEDULE_SECONDS)) - 1]
    assert (1 - JITTER) * scheduled <= retry_after_seconds(attempt, random) <= (1 + JITTER) * scheduled


def test_waits_grow_and_stay_at_the_last() -> None:
    waits = [retry_after_seconds(attempt, 0.5) for attempt in range(1, 9)]
    assert waits == sorted(waits)
    assert waits[0] == 300
    assert waits[5] == waits[7] == 14_400
