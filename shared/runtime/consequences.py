"""What follows from a committed transaction about members or posts: mail is handed on, and mail is stopped."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog

from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.commands import SendBatch
from shared.contracts.events import DeliveriesCancelled, MailReceived
from shared.contracts.topology import Lane, TaskQueue
from shared.store import leaving
from shared.store.engine import Database, StoreUnavailable

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Consequences:
    """What is to be done after the commit."""

    #: Express batches to publish.
    batches: tuple[int, ...] = ()
    #: Members who left.
    left: tuple[int, ...] = ()
    #: Messages that are to be handled (again).
    received: tuple[UUID, ...] = ()

    def __add__(self, other: Consequences) -> Consequences:
        return Consequences(self.batches + other.batches, self.left + other.left, self.received + other.received)


async def follow(database: Database, publisher: Publisher, what: Consequences) -> None:
    """Do what follows; never raises for a database or broker that is down.

    The sweep publishes what was not published here, and a claim consults the members' rows.
    """
    try:
        if what.left:
            async with database.raw() as connection:
                in_batches = await leaving.stop_deliveries(connection, what.left)
            for batch_id, delivery_ids in in_batches.items():
                await publisher.broadcast(DeliveriesCancelled(batch_id, delivery_ids))
        for message_id in what.received:
            await publisher.publish(TaskQueue.TASKS.value, MailReceived(message_id=str(message_id)))
        if what.batches:
            await publisher.publish_all(Lane.EXPRESS.queue, [SendBatch(batch_id) for batch_id in what.batches])
    except (BrokerUnavailable, StoreUnavailable) as error:
        _log.warning("left to the sweep and to claims", error=str(error))
