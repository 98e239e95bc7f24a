"""The connection slots of a node: as many as its limits allow, each with one job at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.held_batch import Job
from services.outbound_sender.kept_connection import Kept
from services.outbound_sender.limits import Limiter


class Slots:
    """Has the jobs of the backlog served, one after the other in each slot."""

    def __init__(
        self,
        backlog: Backlog,
        limiter: Limiter,
        serve: Callable[[Job, Kept], Awaitable[None]],
        close: Callable[[Kept], Awaitable[None]],
        *,
        idle_seconds: float,
    ) -> None:
        """`serve` is done with a job when its outcome is committed; `close` gives a slot's connection up, which is kept
        for `idle_seconds` when there is nothing to send on it."""
        self._backlog = backlog
        self._limiter = limiter
        self._serve = serve
        self._close = close
        self._idle_seconds = idle_seconds
        self._slots: dict[int, asyncio.Task[None]] = {}
        #: Slots below this number take express mail only.
        self._reserved = 0
        self._kept: dict[int, Kept] = {}
        self._busy: set[int] = set()
        self._idle = asyncio.Condition()
        self._resized = asyncio.Event()

    async def run(self) -> None:
        """Keep as many slots as the limit says, until cancelled. A fault in a slot is a bug: it ends the node."""
        try:
            while True:
                self._resized.clear()
                self._fit_slots()
                resized = asyncio.create_task(self._resized.wait())
                done, _ = await asyncio.wait([resized, *self._slots.values()], return_when=asyncio.FIRST_COMPLETED)
                resized.cancel()
                for number, slot in list(self._slots.items()):
                    if slot in done:
                        del self._slots[number]
                        if not slot.cancelled():
                            slot.result()
        finally:
            for slot in self._slots.values():
                slot.cancel()
            await asyncio.gather(*self._slots.values(), return_exceptions=True)

    def resize(self) -> None:
        """A limit of connections changed."""
        self._resized.set()

    def _fit_slots(self) -> None:
        reserved_before, self._reserved = self._reserved, self._limiter.express_connections
        changed = range(*sorted((reserved_before, self._reserved)))
        for number, slot in self._slots.items():
            # A busy slot finishes its transaction first, and then closes or ends by itself.
            is_over = number >= self._limiter.connections or self._is_surplus(number)
            # One that waits for the wrong mail begins anew.
            if number not in self._busy and (is_over or number in changed):
                slot.cancel()
        for number in range(self._limiter.connections):
            if number not in self._slots:
                self._slots[number] = asyncio.create_task(self._slot(number), name=f"slot {number}")

    def _is_surplus(self, number: int) -> bool:
        """Whether the slot keeps a connection to a host that has more of them than it may have by now."""
        kept = self._kept.get(number)
        return kept is not None and self._limiter.places.has_too_many(kept.hosts)

    @property
    def has_free_slots(self) -> bool:
        """Whether any slot waits for a job, whatever its lane."""
        return sum(number >= self._reserved for number in self._busy) < self._limiter.connections - self._reserved

    async def settle(self) -> None:
        """Return when no slot has a job; what is in flight is finished, and its outcome committed."""
        async with self._idle:
            await self._idle.wait_for(lambda: not self._busy)

    async def _slot(self, number: int) -> None:
        kept = self._kept[number] = Kept()
        try:
            while number < self._limiter.connections:
                job = await self._next_job(kept, only_express=number < self._reserved)
                self._busy.add(number)
                try:
                    await self._serve(job, kept)
                finally:
                    self._busy.discard(number)
                    if not self._busy:
                        async with self._idle:
                            self._idle.notify_all()
        finally:
            await self._close(kept)

    async def _next_job(self, kept: Kept, *, only_express: bool) -> Job:
        near, hosts = kept.destination, kept.hosts
        if kept.connection is not None and not self._backlog.has_for(near, hosts, only_express=only_express):
            try:
                async with asyncio.timeout(self._idle_seconds):
                    return await self._backlog.next(near, hosts, only_express=only_express)
            except TimeoutError:
                await self._close(kept)
        return await self._backlog.next(kept.destination, kept.hosts, only_express=only_express)
