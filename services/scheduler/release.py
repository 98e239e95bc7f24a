"""Release: put waiting recipients into batches for the nodes, as many as can soon be started, and publish them.

Any scheduler may run a step; an advisory lock lets one at a time count and write in a lane. What it counts, it counts
from rows, so a scheduler that dies in between leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.commands import SendBatch
from shared.contracts.topology import Lane
from shared.core.windows import MAX_BATCH_SIZE, PARTS_A_NODE, Demand, portions
from shared.store import release
from shared.store.engine import Database, StoreUnavailable

_log = structlog.get_logger(__name__)

#: The window of a lane: what the nodes can start within so long.
WINDOW_SECONDS = {Lane.EXPRESS: 2.0, Lane.POSTS: 2.0, Lane.BULK: 5.0}
BUSY_SECONDS = 0.05
IDLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did in a lane."""

    batch_ids: Sequence[int]
    #: Recipients are waiting for room in the window.
    has_more: bool


class Releaser:
    """Runs release steps in all lanes for as long as the process lives."""

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
        self._due = asyncio.Event()

    def wake(self) -> None:
        """There is something to release now."""
        self._due.set()

    async def run(self) -> None:
        """Release until cancelled."""
        while True:
            self._due.clear()
            try:
                is_busy = any([await self._release(lane) for lane in Lane])
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("nothing released", error=str(error))
                is_busy = False
            try:
                async with asyncio.timeout(BUSY_SECONDS if is_busy else IDLE_SECONDS):
                    await self._due.wait()
            except TimeoutError:
                pass

    async def _release(self, lane: Lane) -> bool:
        """Steps until the window is full or nothing waits; whether anything is under way in the lane."""
        is_busy = False
        while True:
            step = await self._step(lane)
            if step.batch_ids:
                await self.publish(lane, step.batch_ids)
            is_busy = is_busy or step.has_more or bool(step.batch_ids)
            if not (step.batch_ids and step.has_more):
                return is_busy

    async def _step(self, lane: Lane) -> Step:
        async with self._database.raw_transaction() as connection:
            if not await release.try_lock(connection, lane):
                return Step([], has_more=False)
            nodes, per_second = await release.nodes_capacity(connection, lane)
            waiting = await release.waiting(connection, lane, count_to=MAX_BATCH_SIZE * PARTS_A_NODE * max(1, nodes))
            batch_ids: list[int] = []
            for portion in portions(
                [Demand(mailing.mailing_id, mailing.waiting, mailing.unstarted) for mailing in waiting],
                window=int(per_second * WINDOW_SECONDS[lane]),
                nodes=nodes,
            ):
                batch_ids += await release.make_batches(
                    connection,
                    lane,
                    portion.mailing_id,
                    recipients=portion.recipients,
                    batch_size=portion.batch_size,
                    publish_after_seconds=self._publish_within_seconds,
                )
        return Step(batch_ids, has_more=bool(waiting))

    async def publish(self, lane: Lane, batch_ids: Sequence[int], *, is_limited: bool = False) -> None:
        """Hand batches to the broker; when it is down, the sweep does it later."""
        queue = lane.limited_queue if is_limited else lane.queue
        try:
            await self._publisher.publish_all(queue, [SendBatch(batch_id) for batch_id in batch_ids])
        except BrokerUnavailable as error:
            _log.warning("left to the sweep", lane=lane.value, error=str(error))
            return
        async with self._database.raw_transaction() as connection:
            await release.mark_published(connection, batch_ids, again_after_seconds=self._republish_after_seconds)
