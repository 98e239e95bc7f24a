"""When a deferred delivery is tried again, and when it is given up."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.smtp_reply import Reply

#: Seconds until the next attempt, by how many were made; the last one holds for all that follow.
SCHEDULE_SECONDS = (300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0)
#: The waits are spread by so much, so that what was deferred together does not come back together.
JITTER = 0.1
#: A deferral that says "too much now" says nothing about the recipient: it is tried again, by any node, after this
#: part of the wait.
VOLUME_PART = 0.2
#: A mailing's deliveries are given up at this age (RFC 5321 §4.5.4.1: at least 4 to 5 days).
GIVE_UP_AFTER_SECONDS = 5 * 86_400.0


def retry_after_seconds(
    attempt: int, random: float, *, schedule: Sequence[float] = SCHEDULE_SECONDS, reply: Reply | None = None
) -> float:
    """The wait after attempt number `attempt` (from 1) that `reply` deferred; `random` is from [0, 1)."""
    wait = schedule[min(attempt, len(schedule)) - 1]
    if reply is not None and reply.is_about_volume:
        wait *= VOLUME_PART
    return wait * (1 - JITTER + 2 * JITTER * random)
