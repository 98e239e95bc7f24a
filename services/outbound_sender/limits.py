"""What this node may do now: its limits, and the answer to "may the next message start?"."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.outbound_sender.bandwidth import Bandwidth
from services.outbound_sender.host_places import HostPlaces
from shared.core.limits import Limit, NodeLimits
from shared.core.pacer import SECONDS_AN_HOUR, Go, Pacer, Wait, pace_per_hour, pace_per_second

#: Who waits for the rate longer than this gives up: others may have room.
PATIENCE_SECONDS = 10.0
#: Connections of a node whose number is not limited.
UNLIMITED_CONNECTIONS = 1000
#: A node with more than so many connections reserves this part of them, at least one, for express mail.
EXPRESS_FROM = 4
EXPRESS_PART = 20
#: With limited megabits, messages start that can be written within so long: the others' recipients stay free for other
#: nodes, and a node that stops has soon finished.
CONTENT_AHEAD_SECONDS = 1.0
#: The weight of the latest content in the mean.
MEAN_WEIGHT = 0.1


class Limiter:
    """The node's limits in force, and the queue of those that want to start a message."""

    def __init__(self, *, has_one_host: bool = False) -> None:
        """`has_one_host`: all connections go to one destination host, as with a relay."""
        self.limits = NodeLimits()
        self.bandwidth = Bandwidth()
        self.places = HostPlaces()
        #: The limit that the last one who asked was told to wait for.
        self.last_reason: Limit | None = None
        #: How many connection slots wait for their turn.
        self.waiting = 0
        self._has_one_host = has_one_host
        self._per_second = Pacer(Limit.MAX_MESSAGES_PER_SECOND)
        self._per_hour = Pacer(Limit.MAX_MESSAGES_PER_HOUR)
        self._content = Pacer(Limit.MAX_MEGABITS_PER_SECOND)
        self._pacers: tuple[Pacer, ...] = ()
        self._mean_content_bytes = 0.0
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()

    def apply(self, limits: NodeLimits) -> None:
        """In force at once, also for those who wait. A limit that stays goes on where it stands."""
        now_seconds, before, self.limits = asyncio.get_running_loop().time(), self.limits, limits
        if limits.max_messages_per_second != before.max_messages_per_second:
            pace_per_second(self._per_second, limits.max_messages_per_second, now_seconds)
        if limits.max_messages_per_hour != before.max_messages_per_hour:
            pace_per_hour(self._per_hour, limits.max_messages_per_hour, now_seconds)
        if limits.max_megabits_per_second != before.max_megabits_per_second:
            # It may go ahead from the start: what keeps the bytes is the bandwidth.
            idle_since_seconds = now_seconds - CONTENT_AHEAD_SECONDS
            self._content.set_rate(limits.max_bytes_per_second, idle_since_seconds, slack_seconds=CONTENT_AHEAD_SECONDS)
            self.bandwidth.set_rate(limits.max_bytes_per_second)
        in_force = (
            (limits.max_messages_per_second, self._per_second),
            (limits.max_messages_per_hour, self._per_hour),
            (limits.max_megabits_per_second, self._content),
        )
        self._pacers = tuple(pacer for limit, pacer in in_force if limit is not None)
        self.places.limit(limits.max_connections_per_host)
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again whether to wait on."""
        self._changed.set()

    async def turn(self, content_bytes: int, may_start: Callable[[], bool]) -> bool:
        """True when a message of this size starts now, by the rates.

        False as soon as `may_start` says no, or after a long wait.
        """
        if not self._pacers:
            return may_start()
        now_seconds = asyncio.get_running_loop().time
        gives_up_at_seconds = now_seconds() + PATIENCE_SECONDS
        self.waiting += 1
        try:
            async with self._queue:
                while may_start() and now_seconds() < gives_up_at_seconds:
                    answer = self.answer()
                    if isinstance(answer, Go):
                        self._take(content_bytes)
                        return True
                    self.last_reason = answer.because
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(min(answer.seconds, gives_up_at_seconds - now_seconds())):
                            await self._changed.wait()
                    except TimeoutError:
                        pass  # The turn has come.
            return False
        finally:
            self.waiting -= 1

    def answer(self) -> Go | Wait:
        """Whether the rates let a message start now; of several that do not, the one to wait for longest."""
        now_seconds = asyncio.get_running_loop().time()
        longest: Go | Wait = Go()
        for pacer in self._pacers:
            answer = pacer.answer(now_seconds)
            if isinstance(answer, Wait) and (isinstance(longest, Go) or answer.seconds > longest.seconds):
                longest = answer
        return longest

    def _take(self, content_bytes: int) -> None:
        now_seconds = asyncio.get_running_loop().time()
        self._per_second.take(now_seconds)
        self._per_hour.take(now_seconds)
        self._content.take(now_seconds, content_bytes)
        mean = self._mean_content_bytes or content_bytes
        self._mean_content_bytes = mean + MEAN_WEIGHT * (content_bytes - mean)

    def turn_now(self) -> bool:
        """True when one message more with the same content may start at once; nobody who waits is passed by."""
        if not self._pacers:
            return True
        now_seconds = asyncio.get_running_loop().time()
        by_messages = (self._per_second, self._per_hour)
        if self._queue.locked() or any(isinstance(pacer.answer(now_seconds), Wait) for pacer in by_messages):
            return False
        for pacer in by_messages:
            pacer.take(now_seconds)
        return True

    @property
    def connections(self) -> int:
        """How many connection slots there may be."""
        return min(self.limits.max_connections or UNLIMITED_CONNECTIONS, self._connections_to_the_one_host)

    @property
    def limit_of_slots(self) -> Limit:
        """What to wait for when all connection slots are busy."""
        if self.bandwidth.is_waited_for:
            return Limit.MAX_MEGABITS_PER_SECOND
        in_all = self.limits.max_connections or UNLIMITED_CONNECTIONS
        if self._connections_to_the_one_host < in_all:
            return Limit.MAX_CONNECTIONS_PER_HOST
        return Limit.MAX_CONNECTIONS

    @property
    def _connections_to_the_one_host(self) -> int:
        return (self._has_one_host and self.limits.max_connections_per_host) or UNLIMITED_CONNECTIONS

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
        per_second = self.connections / mean_transaction_seconds
        if self.limits.max_messages_per_second is not None:
            per_second = min(per_second, self.limits.max_messages_per_second)
        if self.limits.max_messages_per_hour is not None:
            per_second = min(per_second, self.limits.max_messages_per_hour / SECONDS_AN_HOUR)
        if self.limits.max_bytes_per_second is not None and self._mean_content_bytes:
            per_second = min(per_second, self.limits.max_bytes_per_second / self._mean_content_bytes)
        return per_second
