"""What follows from a committed transaction about subscriptions: mail is handed to the nodes, and mail is stopped."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.commands import SendBatch
from shared.contracts.events import DeliveriesCancelled
from shared.contracts.topology import Lane
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

    def __add__(self, other: Consequences) -> Consequences:
        return Consequences(self.batches + other.batches, self.left + other.left)


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
        if what.batches:
            await publisher.publish_all(Lane.EXPRESS.queue, [SendBatch(batch_id) for batch_id in what.batches])
    except (BrokerUnavailable, StoreUnavailable) as error:
        _log.warning("left to the sweep and to claims", error=str(error))
