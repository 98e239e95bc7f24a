"""A message that ends whoever handles it is set aside, whole; the others' are handled meanwhile."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from shared.broker.consumer import Handler, Received
from shared.contracts.base import Payload
from shared.contracts.events import MailReceived
from shared.contracts.topology import encode
from shared.store import handling, parked
from shared.store.engine import Database
from shared.store.patience import until_available

_log = structlog.get_logger(__name__)


class CountedTries:
    """Handles what comes; of a message that comes again, the tries are counted, in rows.

    Only of messages: others wrote what is in them. They are handled one at a time then, so that who dies of one had not
    begun another such one, and neither is counted for the other.
    """

    def __init__(self, handle: Handler[Payload], database: Database) -> None:
        self._handle = handle
        self._database = database
        self._one = asyncio.Lock()

    async def __call__(self, received: Received[Payload]) -> None:
        payload = received.payload
        if not (received.is_redelivered and isinstance(payload, MailReceived)):
            await self._handle(received)
            return
        async with self._one:
            if await until_available(lambda: self._is_set_aside(payload, received.queue), doing="counting tries"):
                await received.acknowledge()
            else:
                await self._handle(received)

    async def _is_set_aside(self, event: MailReceived, queue: str) -> bool:
        """Whether it was tried often enough, and is kept now for a person to look at."""
        async with self._database.raw_transaction() as connection:
            times = await handling.count_broken_off(connection, UUID(event.message_id))
            if times < handling.MOST_BROKEN_OFF:
                return False
            because = f"its handling was broken off {times} times: whoever had it died, or lost the broker"
            await parked.keep_payload(connection, queue=queue, because=because, body=encode(event))
        _log.error("message parked", message=event.message_id, because=because)
        return True
