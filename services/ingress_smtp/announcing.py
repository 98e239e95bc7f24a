"""`MailReceived`, published behind the client's back: neither a slow nor a dead broker delays a 250."""

from __future__ import annotations

import asyncio

import structlog

from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.events import MailReceived
from shared.store.messages import NewMessage

#: Announcements under way at a time. Beyond it the broker is in trouble, and the sweep will do it.
MAX_UNDER_WAY = 500

log = structlog.get_logger(__name__)


class BrokerAnnouncer:
    """Announces stored messages to the schedulers, each once; the sweep announces what was not confirmed."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._under_way: set[asyncio.Task[None]] = set()

    def announce(self, message: NewMessage) -> None:
        if len(self._under_way) >= MAX_UNDER_WAY:
            return
        task = asyncio.create_task(self._publish(message.queue, str(message.id)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def finish(self) -> None:
        """Wait until what is under way is confirmed or given up."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _publish(self, queue: str, message_id: str) -> None:
        try:
            await self._publisher.publish(queue, MailReceived(message_id=message_id))
        except BrokerUnavailable as error:
            log.warning("message not announced, the sweep will do it", message=message_id, because=str(error))
