"""When a failed run is tried again, and what is missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.core.task import MAX_TRIES, MISSED_AFTER_SECONDS, MissedPolicy, is_skipped, try_again_after_seconds


def test_the_waits_grow_and_end() -> None:
    waits = [try_again_after_seconds(failures, 0.5) for failures in range(1, MAX_TRIES + 1)]
    assert waits == [30, 120, 600, 1800, None]


@pytest.mark.parametrize("random", [0.0, 0.3, 0.999])
def test_a_wait_is_spread_by_a_tenth(random: float) -> None:
    wait = try_again_after_seconds(1, random)
    assert wait is not None
    assert 27 <= wait < 33


def test_only_what_is_late_is_skipped_and_only_where_that_is_wanted() -> None:
    due_at = datetime(2026, 11, 23, tzinfo=UTC)
    in_time, late = (due_at + timedelta(seconds=MISSED_AFTER_SECONDS + more) for more in (0, 1))
    assert not is_skipped(MissedPolicy.SKIP, due_at, in_time)
    assert is_skipped(MissedPolicy.SKIP, due_at, late)
    assert not is_skipped(MissedPolicy.RUN_ONCE, due_at, late)
