"""How bounces add up for a member, until the list sets the member aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.bounce import BounceClass, Diagnosis

#: What a list begins with: points at which a member is held, and days without a bounce after which all are forgotten.
DEFAULT_BOUNCE_LIMIT = 5.0
DEFAULT_QUIET_DAYS = 7

#: These tell of us, or of what was sent, and nothing of the member.
NOT_THE_MEMBERS = frozenset(
    {BounceClass.POLICY, BounceClass.SPAM, BounceClass.BLOCKED, BounceClass.RELAY, BounceClass.TOO_BIG}
)
HARD_POINTS = 1.0
SOFT_POINTS = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """A member's points, and when the last of them was given."""

    points: float = 0.0
    counted_at: datetime | None = None


def scored(score: Score, diagnosis: Diagnosis, at: datetime, *, quiet_days: int, is_probe: bool = False) -> Score:
    """The score after a bounce that came `at`; the same one when it does not count.

    At most one a day (UTC) counts; but that of a probe counts whole, and on any day: it was sent to find this out. What
    tells nothing of the member does not count, a probe's either.
    """
    if diagnosis.bounce_class in NOT_THE_MEMBERS:
        return score
    if is_probe:
        return Score(score.points + points_of(diagnosis, is_probe=True), at)
    points = score.points
    if score.counted_at is not None:
        if at.date() <= score.counted_at.date():
            return score
        if at - score.counted_at > timedelta(days=quiet_days):
            points = 0.0
    return Score(points + points_of(diagnosis), at)


def points_of(diagnosis: Diagnosis, *, is_probe: bool = False) -> float:
    """What a bounce adds, if it counts."""
    return HARD_POINTS if is_probe or diagnosis.is_hard else SOFT_POINTS


def wants_probe(before: Score, after: Score, limit: float) -> bool:
    """Whether the next bounce may be the one that holds the member: then a probe shows whether mail arrives at all."""
    return before.points < limit - HARD_POINTS <= after.points < limit
