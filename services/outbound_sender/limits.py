"""What this node may do now: its limits, and the answer to "may the next message start?"."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

from shared.core.limits import NodeLimits

#: Who waits for the rate longer than this gives up: others may have room.
PATIENCE_SECONDS = 10.0
#: Connections of a node whose number is not limited.
UNLIMITED_CONNECTIONS = 1000
#: A node with more than so many connections reserves this part of them, at least one, for express mail.
EXPRESS_FROM = 4
EXPRESS_PART = 20


@dataclass(frozen=True, slots=True)
class Go:
    """Start now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: ask again after so long."""

    seconds: float
    because: str


class Pacer:
    """Messages per second, smooth: a bucket that holds one and starts empty.

    A start that came late may be made up for within `_slack_seconds`, chosen so that in no one-second window more
    than max(n + 1, 1.05 n) messages start.
    """

    def __init__(self) -> None:
        self._interval_seconds = 0.0
        self._slack_seconds = 0.0
        self._next_at_seconds = 0.0

    def set_rate(self, per_second: float | None, now_seconds: float) -> None:
        """At most so many a second from now on; `None` is unlimited."""
        self._interval_seconds = 1 / per_second if per_second else 0.0
        self._slack_seconds = _slack_seconds(per_second) if per_second else 0.0
        self._next_at_seconds = now_seconds + self._interval_seconds

    def wait_seconds(self, now_seconds: float) -> float:
        """How long until the next turn; 0 when it is there."""
        return max(0.0, self._next_at_seconds - now_seconds) if self._interval_seconds else 0.0

    def ask(self, now_seconds: float) -> Go | Wait:
        """`Go` takes the turn."""
        if not self._interval_seconds:
            return Go()
        if wait_seconds := self.wait_seconds(now_seconds):
            return Wait(wait_seconds, "max_messages_per_second")
        self._next_at_seconds = max(self._next_at_seconds, now_seconds - self._slack_seconds) + self._interval_seconds
        return Go()


def _slack_seconds(per_second: float) -> float:
    if per_second > 100:
        return 0.02
    # Only with a whole number a second is there room for a whole message more.
    room_for_messages = math.floor(max(per_second + 1, 1.05 * per_second)) - per_second
    return 0.25 * min(1.0, room_for_messages) / per_second


class Limiter:
    """The node's limits in force, and the queue of those that want to start a message."""

    def __init__(self) -> None:
        self.limits = NodeLimits()
        self._pacer = Pacer()
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()

    def apply(self, limits: NodeLimits) -> None:
        """In force at once, also for those who wait."""
        if limits.max_messages_per_second != self.limits.max_messages_per_second:
            self._pacer.set_rate(limits.max_messages_per_second, asyncio.get_running_loop().time())
        self.limits = limits
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again whether to wait on."""
        self._changed.set()

    async def turn(self, may_start: Callable[[], bool]) -> bool:
        """True when a message starts now, by the rate; False as soon as `may_start` says no, or after a long wait."""
        if self.limits.max_messages_per_second is None:
            return may_start()
        now_seconds = asyncio.get_running_loop().time
        gives_up_at_seconds = now_seconds() + PATIENCE_SECONDS
        async with self._queue:
            while may_start() and now_seconds() < gives_up_at_seconds:
                answer = self._pacer.ask(now_seconds())
                if isinstance(answer, Go):
                    return True
                self._changed.clear()
                try:
                    async with asyncio.timeout(min(answer.seconds, gives_up_at_seconds - now_seconds())):
                        await self._changed.wait()
                except TimeoutError:
                    pass  # The turn has come.
        return False

    @property
    def wait_seconds(self) -> float:
        """How long until the rate lets the next message start, 0 when it does now."""
        return self._pacer.wait_seconds(asyncio.get_running_loop().time())

    @property
    def connections(self) -> int:
        """How many connection slots there may be."""
        return self.limits.max_connections or UNLIMITED_CONNECTIONS

    @property
    def express_connections(self) -> int:
        """How many of them only express mail gets."""
        return max(1, self.connections // EXPRESS_PART) if self.connections > EXPRESS_FROM else 0

    @property
    def limited_connections(self) -> int:
        """How many of them batches may have that are under a limit of their domain or list, and wait for moments."""
        return max(1, self.connections // 2)

    def starts_per_second(self, mean_transaction_seconds: float) -> float:
        """How many messages the node can start in a second, when one takes so long on its connection."""
        by_connections = self.connections / mean_transaction_seconds
        return min(by_connections, self.limits.max_messages_per_second or by_connections)
