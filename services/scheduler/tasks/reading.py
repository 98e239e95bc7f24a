"""What readers did: counted, each event once."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contracts.events import CopiesRead
from shared.store import tracking
from shared.store.engine import Database
from shared.store.tracking import NewEvent


@dataclass(frozen=True, slots=True)
class CountReadings:
    """Counts the events of one message, in one transaction."""

    database: Database

    async def __call__(self, payload: CopiesRead) -> None:
        events = [
            NewEvent(event.id, event.at, event.mailing_id, event.delivery_id, event.url, event.sign)
            for event in payload.events
        ]
        async with self.database.raw_transaction() as connection:
            await tracking.record(connection, events)
