"""Handing back: what this node does not start goes to the others, by rows, in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.outbound_sender.held_batch import Job
from shared.store import batches
from shared.store.engine import Database
from shared.store.patience import until_available


class HandBacks:
    """Jobs on their way back to the others; a batch's claim stays until its rows say so."""

    def __init__(self, database: Database, ended: Callable[[Job], None]) -> None:
        """`ended` is told each job that is somebody else's now."""
        self._database = database
        self._ended = ended
        #: By batch, and the limit that its jobs turned out to be under.
        self._jobs: dict[tuple[int, str | None], list[Job]] = {}
        self._writing: asyncio.Task[None] | None = None

    def add(self, jobs: Sequence[Job], *, domain_limit: str | None = None) -> None:
        """Let others have jobs that are in no slot and not started; with `domain_limit`, under that limit."""
        for job in jobs:
            self._jobs.setdefault((job.held.id, domain_limit), []).append(job)
        if self._jobs and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_all(), name="hand-backs")

    async def settle(self) -> None:
        """Return when every hand-back is committed."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    async def _write_all(self) -> None:
        """One batch after the other: after an outage of the database there may be thousands of jobs."""
        while self._jobs:
            (_, domain_limit), jobs = self._jobs.popitem()
            await self._write(jobs, domain_limit)

    async def _write(self, jobs: Sequence[Job], domain_limit: str | None) -> None:
        held = jobs[0].held
        ids = [job.recipient.delivery_id for job in jobs]
        unstarted = len(held.unstarted.difference(ids))

        async def write() -> None:
            async with self._database.raw() as connection:
                await batches.hand_back(
                    connection, held.id, held.claim, ids, unstarted=unstarted, domain_limit=domain_limit
                )

        await until_available(write, doing="hand-back")
        for job in jobs:
            self._ended(job)
            held.leave_unstarted(job.recipient.delivery_id)
