"""The clock: makes a run of every occurrence of a task that is due, and publishes what is to be run.

Any number of schedulers look; the rows decide. Moments are the database's: no scheduler's own clock counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.commands import RunTask
from shared.contracts.topology import TaskQueue
from shared.core.cron import InvalidCron
from shared.core.schedule import UnknownTimeZone, last_up_to
from shared.core.task import is_skipped
from shared.store import task_runs, tasks
from shared.store.engine import Database, StoreUnavailable
from shared.store.tasks import DueTask, Occurrence

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class Clock:
    """Looks every second for as long as the process lives."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        *,
        publish_within_seconds: float,
        republish_after_seconds: float,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._publish_within_seconds = publish_within_seconds
        self._republish_after_seconds = republish_after_seconds

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.publish(await self.make_runs())
                await self.publish_overdue()
            except (StoreUnavailable, BrokerUnavailable) as error:
                _log.warning("tasks put off", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def make_runs(self) -> Sequence[int]:
        """A row for each occurrence that is due now; the ids of those that are to be run."""
        async with self._database.raw_transaction() as connection:
            occurrences = [
                occurrence for task in await tasks.due(connection) if (occurrence := _occurrence_of(task)) is not None
            ]
            if not occurrences:
                return []
            return await tasks.make_runs(connection, occurrences, publish_after_seconds=self._publish_within_seconds)

    async def publish_overdue(self) -> None:
        """Publish what nobody published, what nobody claimed, and what its holder left behind."""
        async with self._database.raw() as connection:
            overdue = await task_runs.publish_due(connection)
        # As many in the queue as are overdue: none is lost, the schedulers just have no room.
        if overdue and await self._publisher.queue_length(TaskQueue.SCHEDULED.value) < len(overdue):
            await self.publish(overdue)

    async def publish(self, run_ids: Sequence[int]) -> None:
        """Hand runs to the broker; `BrokerUnavailable`, and they stay overdue."""
        if not run_ids:
            return
        await self._publisher.publish_all(TaskQueue.SCHEDULED.value, [RunTask(run_id) for run_id in run_ids])
        async with self._database.raw() as connection:
            await task_runs.mark_published(connection, run_ids, again_after_seconds=self._republish_after_seconds)


def _occurrence_of(task: DueTask) -> Occurrence | None:
    """The occurrence that stands for all that are due; `None` where this version cannot read the schedule."""
    try:
        schedule = task.schedule
    except (InvalidCron, UnknownTimeZone) as error:
        # The time zone may be newer than this machine's database of them: another scheduler may know it.
        _log.error("task not understood", task=task.id, error=str(error))
        return None
    due_at = last_up_to(schedule, task.next_due_at, task.now)
    return Occurrence(
        task_id=task.id,
        due_at=due_at,
        missed_since_at=task.next_due_at if due_at > task.next_due_at else None,
        is_skipped=is_skipped(task.missed, due_at, task.now),
        next_due_at=schedule.next_after(due_at),
    )
