"""A message that ends whoever handles it is set aside, whole; the others' are handled meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog

from shared.broker.consumer import Received
from shared.contracts.base import Payload
from shared.contracts.events import MailReceived
from shared.contracts.topology import encode
from shared.store import handling, parked
from shared.store.engine import Database

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SetAside:
    """Counts the tries of a payload that came again, in rows; only messages are, since others wrote what is in them."""

    database: Database

    async def __call__(self, received: Received[Payload]) -> bool:
        """Whether it was tried often enough, and is kept now for a person to look at."""
        if not isinstance(received.payload, MailReceived):
            return False
        message_id = UUID(received.payload.message_id)
        async with self.database.raw_transaction() as connection:
            times = await handling.count_broken_off(connection, message_id)
            if times < handling.MOST_BROKEN_OFF:
                return False
            because = f"its handling was broken off {times} times: whoever had it died, or lost the broker"
            await parked.keep_payload(connection, queue=received.queue, because=because, body=encode(received.payload))
        _log.error("message parked", message=received.payload.message_id, because=because)
        return True
