"""The sweep: publishes what was committed and not published, and what was published and never taken."""

from __future__ import annotations

import asyncio
import itertools

import structlog

from services.scheduler.release import Releaser
from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.commands import ExpandMailing, MakeDigest
from shared.contracts.events import MailReceived, SubscriptionAsked
from shared.contracts.topology import Lane, TaskQueue
from shared.store import (
    digests,
    domain_limits,
    expansion,
    form_tallies,
    handling,
    mailings,
    nodes,
    posts,
    release,
    subscription_requests,
)
from shared.store.engine import Database, StoreUnavailable

_log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0
SWEEPS_BETWEEN_CLEANINGS = 60


class Sweep:
    """Looks for rows whose work is due. It holds no lock while it publishes, and marks what RabbitMQ confirmed."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        releaser: Releaser,
        *,
        republish_after_seconds: float,
        forget_nodes_after_seconds: float,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._releaser = releaser
        self._republish_after_seconds = republish_after_seconds
        self._forget_nodes_after_seconds = forget_nodes_after_seconds

    async def run(self) -> None:
        """Sweep every second until cancelled, and clean up every minute."""
        for sweep in itertools.count():
            try:
                await self._finish_mailings()
                await self._publish_messages()
                await self._publish_requests()
                await self._publish_digests()
                await self._publish_expansions()
                await self._publish_batches()
                if sweep % SWEEPS_BETWEEN_CLEANINGS == 0:
                    await self._forget()
                    await self._close_digests()
            except (StoreUnavailable, BrokerUnavailable) as error:
                _log.warning("sweep put off", error=str(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def _finish_mailings(self) -> None:
        async with self._database.raw_transaction() as connection:
            for mailing_id in await mailings.finish(connection):
                _log.info("mailing finished", mailing=mailing_id)

    async def _publish_messages(self) -> None:
        async with self._database.raw() as connection:
            due = await handling.publish_due(connection)
        await self._publisher.publish_all(TaskQueue.TASKS.value, [MailReceived(str(message)) for message in due])
        async with self._database.raw() as connection:
            await handling.mark_published(connection, due, again_after_seconds=self._republish_after_seconds)

    async def _publish_requests(self) -> None:
        async with self._database.raw() as connection:
            due = await subscription_requests.publish_due(connection)
        await self._publisher.publish_all(
            TaskQueue.EXPRESS.value, [SubscriptionAsked(request_id) for request_id in due]
        )
        async with self._database.raw() as connection:
            await subscription_requests.mark_published(
                connection, due, again_after_seconds=self._republish_after_seconds
            )

    async def _publish_digests(self) -> None:
        async with self._database.raw() as connection:
            due = await digests.publish_due(connection)
        await self._publisher.publish_all(TaskQueue.SCHEDULED.value, [MakeDigest(digest_id) for digest_id in due])
        async with self._database.raw() as connection:
            await digests.mark_published(connection, due, again_after_seconds=self._republish_after_seconds)

    async def _publish_expansions(self) -> None:
        async with self._database.raw() as connection:
            due = await expansion.expand_due(connection)
        await self._publisher.publish_all(TaskQueue.TASKS.value, [ExpandMailing(mailing_id) for mailing_id in due])
        async with self._database.raw() as connection:
            await expansion.mark_expansion_published(connection, due, again_after_seconds=self._republish_after_seconds)

    async def _publish_batches(self) -> None:
        for lane, is_limited in itertools.product(Lane, (False, True)):
            async with self._database.raw_transaction() as connection:
                due = await release.publish_due(connection, lane, is_limited=is_limited)
                released = await release.count_released(connection, lane, is_limited=is_limited) if due else 0
            # As many in the queue as rows are released: none is lost, the nodes just have no room.
            queue = lane.limited_queue if is_limited else lane.queue
            if due and await self._publisher.queue_length(queue) < released:
                await self._releaser.publish(lane, due, is_limited=is_limited)

    async def _close_digests(self) -> None:
        """What lists had collected before their digests were turned off goes out as their last ones."""
        async with self._database.raw() as connection:
            list_ids = await digests.turned_off(connection)
        for list_id in list_ids:
            async with self._database.raw_transaction() as connection:
                await digests.close(connection, list_id)

    async def _forget(self) -> None:
        async with self._database.raw_transaction() as connection:
            await nodes.forget_left(connection, after_seconds=self._forget_nodes_after_seconds)
            await posts.forget_fingerprints(connection)
            await domain_limits.forget_destinations(connection)
            await subscription_requests.expire_pending(connection)
            await subscription_requests.forget(connection)
            await form_tallies.forget(connection)
