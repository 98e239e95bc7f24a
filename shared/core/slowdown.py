"""A domain that refuses for volume is sent to more slowly, and after a while faster again.

Multiplicative down, additive up: as many senders as there are find the rate that a host takes, and share it.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Refusals and acceptances are looked at this often.
INTERVAL_SECONDS = 5.0
#: After it was lowered, a rate is left alone for so long: what is under way was released at the one before.
HOLD_SECONDS = 10.0
#: Fewer refusals than this, or a smaller part of all answers, say nothing about volume.
MIN_REFUSALS = 5
MIN_PART = 0.05
DOWN_FACTOR = 0.5
MIN_PER_MINUTE = 6.0
#: What is added to the rate after an interval without refusals in which something was accepted.
UP_PER_MINUTE = 5.0
#: A domain without a limit of its own is free again at so many times the rate at which it first refused.
FREE_FACTOR = 2.0
#: A slowdown that nothing was sent under for so long is forgotten.
FORGET_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What a destination answered lately, to all nodes together."""

    accepted: int
    refused: int
    seconds: float = INTERVAL_SECONDS

    @property
    def per_minute(self) -> float:
        return (self.accepted + self.refused) * 60 / self.seconds

    @property
    def is_too_much(self) -> bool:
        return self.refused >= max(MIN_REFUSALS, MIN_PART * (self.accepted + self.refused))


@dataclass(frozen=True, slots=True)
class Slowdown:
    """The rate that a destination is slowed to, and the one at which it first refused."""

    per_minute: float
    from_per_minute: float
    #: It was lowered within the last `HOLD_SECONDS`.
    is_fresh: bool = False


def adjusted(slowdown: Slowdown | None, tally: Tally, *, limit_per_minute: float | None) -> Slowdown | None:
    """The slowdown after an interval; `None` is at full speed. `limit_per_minute` is what the operator allows."""
    if slowdown is not None and slowdown.is_fresh:
        return slowdown
    if tally.is_too_much:
        # What was sent is what was too much; a rate that was allowed and not used is not.
        sent = min(tally.per_minute, slowdown.per_minute) if slowdown else tally.per_minute
        started_from = slowdown.from_per_minute if slowdown else tally.per_minute
        return Slowdown(max(MIN_PER_MINUTE, DOWN_FACTOR * sent), started_from, is_fresh=True)
    if slowdown is None or tally.refused or not tally.accepted:
        return slowdown
    per_minute = slowdown.per_minute + UP_PER_MINUTE
    free_at = FREE_FACTOR * slowdown.from_per_minute if limit_per_minute is None else limit_per_minute
    return None if per_minute >= free_at else Slowdown(per_minute, slowdown.from_per_minute)
