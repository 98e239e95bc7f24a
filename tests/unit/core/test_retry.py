"""When a deferred delivery is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.retry import JITTER, SCHEDULE_SECONDS, VOLUME_PART, is_about_volume, retry_after_seconds
from shared.core.smtp_reply import Reply


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_the_schedules_give_or_take_a_tenth(attempt: int, random: float) -> None:
    scheduled = SCHEDULE_SECONDS[min(attempt, len(SCHEDULE_SECONDS)) - 1]
    assert (1 - JITTER) * scheduled <= retry_after_seconds(attempt, random) <= (1 + JITTER) * scheduled


def test_waits_grow_and_stay_at_the_last() -> None:
    waits = [retry_after_seconds(attempt, 0.5) for attempt in range(1, 9)]
    assert waits == sorted(waits)
    assert waits[0] == 300
    assert waits[5] == waits[7] == 14_400


def test_a_list_may_have_a_schedule_of_its_own() -> None:
    assert [retry_after_seconds(attempt, 0.5, schedule=(1, 60)) for attempt in (1, 2, 3)] == [1, 60, 60]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(421, "too many connections"), True),
        (Reply(450, "4.7.1 greylisted"), True),
        (Reply(451, "4.4.5 busy"), True),
        (Reply(452, "4.2.2 mailbox full"), False),
        (Reply(451, "later"), False),
        (Reply(550, "4.7.1 confused"), False),
        (Reply(550, "5.7.1 never"), False),
    ],
)
def test_a_deferral_for_volume_is_tried_again_sooner(reply: Reply, expected: bool) -> None:
    assert is_about_volume(reply) == expected
    assert retry_after_seconds(1, 0.5, reply=reply) == 300 * (VOLUME_PART if expected else 1)
