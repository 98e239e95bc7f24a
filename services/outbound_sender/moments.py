"""When the messages of a limited batch may start: at moments of their own, which nobody else has (`core/pacing.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.core.pacing import START_WITHIN_SECONDS
from shared.runtime.clock import seconds_since_boot
from shared.store.claims import BatchLimit

#: A wait is looked at this often: the claim may be lost, or the node be told to stop.
LOOK_SECONDS = 0.5


class Moments:
    """The moments of one claimed batch, by this node's clock.

    The database said how long it is until the first one while the claim was asked for and answered. A message starts
    so late that the moment has come whenever that was, and so early that it is not over whenever that was.
    """

    def __init__(
        self,
        limit: BatchLimit,
        count: int,
        *,
        asked_at_seconds: float,
        answered_at_seconds: float,
        clock: Callable[[], float] = seconds_since_boot,
    ) -> None:
        first_seconds = limit.starts_in_seconds
        self._is_paced = first_seconds is not None
        self._interval_seconds = limit.interval_seconds
        self._opens_at_seconds = answered_at_seconds + (first_seconds or 0.0)
        self._closes_at_seconds = asked_at_seconds + (first_seconds or 0.0) + START_WITHIN_SECONDS
        self._left = count
        self._clock = clock

    async def next(self, may_start: Callable[[], bool]) -> bool:
        """True at the next moment that is not over, False when there is none or `may_start` says no."""
        while self._is_paced:
            self._skip_missed()
            if not self._left or not may_start():
                return False
            wait_seconds = self._opens_at_seconds - self._clock()
            if wait_seconds <= 0:
                return True
            await asyncio.sleep(min(wait_seconds, LOOK_SECONDS))
        return may_start()

    @property
    def wait_seconds(self) -> float:
        """How long it is until the next moment; without a rate, not at all."""
        return max(0.0, self._opens_at_seconds - self._clock()) if self._is_paced and self._left else 0.0

    def take(self) -> bool:
        """Use up the moment that `next` waited for; False when it is over by now."""
        if not self._is_paced:
            return True
        is_now = self._left > 0 and self._opens_at_seconds <= self._clock() < self._closes_at_seconds
        if is_now:
            self._pass()
        return is_now

    def _skip_missed(self) -> None:
        while self._left and self._closes_at_seconds <= self._clock():
            self._pass()

    def _pass(self) -> None:
        self._left -= 1
        self._opens_at_seconds += self._interval_seconds
        self._closes_at_seconds += self._interval_seconds
