"""When a deferred delivery is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.core.retry import JITTER, SCHEDULE_SECONDS, VOLUME_PART, retry_after_seconds
from shared.core.smtp_reply import Reply


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_the_schedules_give_or_take_a_tenth(attempt: int, random: float) -> None:
    scheduled = SCHEDULE_SECONDS[min(attempt, len(SCHEDULE_SECONDS)) - 1]
    assert (1 - JITTER) * scheduled <= retry_after_seconds(attempt, random) <= (1 + JITTER) * scheduled


def test_the_waits_are_5_15_and_30_minutes_1_and_2_hours_and_then_4() -> None:
    minutes = [retry_after_seconds(attempt, 0.5) / 60 for attempt in range(1, 9)]
    assert minutes == [5, 15, 30, 60, 120, 240, 240, 240]


def test_a_list_may_have_a_schedule_of_its_own() -> None:
    assert [retry_after_seconds(attempt, 0.5, schedule=(1, 60)) for attempt in (1, 2, 3)] == [1, 60, 60]


def test_a_deferral_for_volume_is_tried_again_sooner() -> None:
    assert retry_after_seconds(1, 0.5, reply=Reply(450, "4.7.1 greylisted")) == 300 * VOLUME_PART
    assert retry_after_seconds(1, 0.5, reply=Reply(452, "4.2.2 mailbox full")) == 300
