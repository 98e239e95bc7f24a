"""Megabits per second: content goes out in small chunks, in turns over all connections of the node."""

from __future__ import annotations

import asyncio

from shared.core.limits import Limit
from shared.core.pacer import Go, Pacer

#: A chunk is what may be sent in so long; together with the slack this stays well below the 5 % that a second may have
#: too much, since the one who measures at the other end hears of some bytes a little late.
CHUNK_SECONDS = 0.005
SLACK_SECONDS = 0.01
#: However slow the node shall be, chunks do not get smaller than so many bytes or so long.
MIN_CHUNK_BYTES = 64
MAX_CHUNK_SECONDS = 0.02
#: The loop's timers are not finer.
TIMER_SECONDS = 0.001


class Bandwidth:
    """The bytes of content that all connections of a node may write."""

    def __init__(self) -> None:
        self._pacer = Pacer(Limit.MAX_MEGABITS_PER_SECOND)
        self._queue = asyncio.Lock()
        self._chunk_bytes: int | None = None
        #: Bytes of content that were written since the process began.
        self.written_bytes = 0

    def set_rate(self, bytes_per_second: float | None) -> None:
        """At most so many from now on; `None` is unlimited."""
        self._pacer.set_rate(bytes_per_second, asyncio.get_running_loop().time(), slack_seconds=SLACK_SECONDS)
        self._chunk_bytes = None if bytes_per_second is None else _chunk_bytes(bytes_per_second)

    @property
    def chunk_bytes(self) -> int | None:
        """The most that is granted at once; `None` while everything is."""
        return self._chunk_bytes

    @property
    def is_waited_for(self) -> bool:
        """Whether any connection waits for its turn to write."""
        return self._queue.locked()

    async def grant(self, wanted_bytes: int) -> int:
        """How many bytes may be written now, at least one; waits for them."""
        granted_bytes = wanted_bytes if self._chunk_bytes is None else await self._grant_chunk(wanted_bytes)
        self.written_bytes += granted_bytes
        return granted_bytes

    async def _grant_chunk(self, wanted_bytes: int) -> int:
        now_seconds = asyncio.get_running_loop().time
        async with self._queue:
            while True:
                answer = self._pacer.answer(now_seconds())
                if isinstance(answer, Go):
                    granted_bytes = min(wanted_bytes, self._chunk_bytes or wanted_bytes)
                    self._pacer.take(now_seconds(), granted_bytes)
                    return granted_bytes
                await asyncio.sleep(max(answer.seconds, TIMER_SECONDS))


def _chunk_bytes(bytes_per_second: float) -> int:
    at_least = min(MIN_CHUNK_BYTES, bytes_per_second * MAX_CHUNK_SECONDS)
    return max(1, int(max(bytes_per_second * CHUNK_SECONDS, at_least)))
