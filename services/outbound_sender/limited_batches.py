"""Limited batches: one recipient after the other on a connection of the batch's own, which is closed before the batch
is. On a node's only connection others' mail goes in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.connecting import Connections
from services.outbound_sender.held_batch import Job
from services.outbound_sender.kept_connection import Kept
from services.outbound_sender.limits import Limiter
from services.outbound_sender.moments import LOOK_SECONDS
from shared.store.outcomes import Report

#: While an outcome waits longer than this for its commit, a limited batch's connection is not kept open.
MAX_UNRECORDED_SECONDS = 5.0
#: So many of a limited batch go in a row while others' mail waits.
MAX_IN_A_ROW = 10


class LimitedBatches:
    """Serves limited batches, and has their outcomes committed."""

    def __init__(
        self,
        backlog: Backlog,
        limiter: Limiter,
        connections: Connections,
        record: Callable[[Report], Awaitable[None]],
        *,
        serve: Callable[[Job, Kept], Awaitable[None]],
        may_start: Callable[[Job], bool],
        transaction_seconds: Callable[[], float],
    ) -> None:
        """`serve` serves one job, limited or not; `transaction_seconds` is what that takes on an open connection."""
        self._backlog = backlog
        self._limiter = limiter
        self._connections = connections
        self._record = record
        self._serve = serve
        self._may_start = may_start
        self._transaction_seconds = transaction_seconds

    async def serve(self, first: Job, kept: Kept) -> None:
        """The whole batch that `first` is the first of. The connection that was kept is another destination's."""
        await self._connections.close(kept)
        job: Job | None = first
        numbers = count()
        while job is not None:
            if self._limiter.connections == 1:
                await self._serve_others(job, next(numbers), kept)
            await self._serve(job, kept)
            job = self._backlog.next_of(job)
        await self._connections.close(kept)

    async def _serve_others(self, job: Job, number: int, kept: Kept) -> None:
        """Serve what is under no limit until it is the turn of `job`, number `number` of its limited batch from 0; on
        another connection, since the batch's is nobody else's.

        Its turn is when its moment is less than a transaction away. After so many in a row others' mail gets as many
        turns, or one where there are moments to keep.
        """
        moments = job.held.moments
        assert moments is not None  # noqa: S101 - it is of a limited batch
        turns = 0
        if number % MAX_IN_A_ROW == 0:
            turns = 1 if job.held.batch.is_paced else MAX_IN_A_ROW
        between = Kept()
        try:
            while self._may_start(job):
                wait_seconds = moments.wait_seconds - self._transaction_seconds()
                if wait_seconds <= 0 and not (turns > 0 and self._backlog.has_unlimited()):
                    return
                try:
                    async with asyncio.timeout(min(max(wait_seconds, 0.0), LOOK_SECONDS)):
                        other = await self._backlog.next(between.destination, between.hosts, only_unlimited=True)
                except TimeoutError:
                    continue
                turns -= 1
                await self._connections.close(kept)
                await self._serve(other, between)
        finally:
            await self._connections.close(between)

    async def record(self, report: Report, job: Job, kept: Kept) -> None:
        """Commit an outcome of a limited batch, whose connection another may have as soon as the batch is closed, or
        taken over because nobody heard of us for too long."""
        if kept.connection is None or self._backlog.is_last(job):
            await self._connections.close(kept)
            await self._record(report)
            return
        too_long = asyncio.get_running_loop().call_later(MAX_UNRECORDED_SECONDS, kept.connection.abort)
        try:
            await self._record(report)
        finally:
            too_long.cancel()
