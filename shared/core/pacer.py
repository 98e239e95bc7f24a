"""Evenly, so many a second: who asks gets `Go`, or `Wait` with how long and because of what."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.core.limits import Limit

SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Go:
    """Start now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: ask again after so long."""

    seconds: float
    because: Limit


class Pacer:
    """So many units a second, without bursts.

    Who comes late may make up for `slack_seconds` of it and no more, so that in any window of T seconds no more than
    rate x (T + slack_seconds) units start, and the one that the last started with: a pacer that was idle has nothing
    saved up, and a new one starts empty.
    """

    def __init__(self, because: Limit) -> None:
        self._because = because
        self._unit_seconds = 0.0
        self._slack_seconds = 0.0
        self._next_at_seconds = 0.0

    def set_rate(self, per_second: float | None, now_seconds: float, *, slack_seconds: float = 0.0) -> None:
        """At most so many units a second from now on; `None` is unlimited."""
        self._unit_seconds = 1 / per_second if per_second else 0.0
        self._slack_seconds = slack_seconds
        self._next_at_seconds = now_seconds + self._unit_seconds

    def wait_seconds(self, now_seconds: float) -> float:
        """How long until something may start; 0 when it may now."""
        return max(0.0, self._next_at_seconds - now_seconds) if self._unit_seconds else 0.0

    def answer(self, now_seconds: float) -> Go | Wait:
        """Whether something may start now; asking takes nothing."""
        wait_seconds = self.wait_seconds(now_seconds)
        return Wait(wait_seconds, self._because) if wait_seconds else Go()

    def take(self, now_seconds: float, units: float = 1) -> None:
        """So much starts now, after `Go`."""
        earliest_seconds = now_seconds - self._slack_seconds
        self._next_at_seconds = max(self._next_at_seconds, earliest_seconds) + units * self._unit_seconds


def pace_per_second(pacer: Pacer, per_second: float | None, now_seconds: float) -> None:
    """In no one-second window more than max(n + 1, 1.05 n) units."""
    pacer.set_rate(per_second, now_seconds, slack_seconds=_slack_seconds(per_second) if per_second else 0.0)


def pace_per_hour(pacer: Pacer, per_hour: int | None, now_seconds: float) -> None:
    """In no window of an hour more than n + 1 units, spread evenly over it."""
    if per_hour is None:
        pacer.set_rate(None, now_seconds)
        return
    slack_seconds = min(0.25, _slack_seconds(per_hour / SECONDS_AN_HOUR))
    # The hour is taken a little longer, so that what may be made up for stays within the limit.
    pacer.set_rate(per_hour / (SECONDS_AN_HOUR + slack_seconds), now_seconds, slack_seconds=slack_seconds)


def _slack_seconds(per_second: float) -> float:
    if per_second > 100:
        return 0.02
    # Only with a whole number a second is there room for a whole unit more.
    room_for_units = math.floor(max(per_second + 1, 1.05 * per_second)) - per_second
    return 0.25 * min(1.0, room_for_units) / per_second
