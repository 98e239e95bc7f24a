"""When a deferred delivery is tried again."""

from __future__ import annotations

#: Seconds until the next attempt, by how many were made; the last one holds for all that follow.
SCHEDULE_SECONDS = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0)
#: The waits are spread by so much, so that what was deferred together does not come back together.
JITTER = 0.1


def retry_after_seconds(attempt: int, random: float) -> float:
    """The wait after attempt number `attempt` (from 1); `random` is from [0, 1)."""
    wait = SCHEDULE_SECONDS[min(attempt, len(SCHEDULE_SECONDS)) - 1]
    return wait * (1 - JITTER + 2 * JITTER * random)
