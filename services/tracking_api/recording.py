"""Events on their way to where they are safe: together, into the broker, or, when it is away, into the journal."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from services.tracking_api.journal import Journal, JournalFull
from shared.broker.connection import BrokerUnavailable
from shared.contracts.base import Payload
from shared.contracts.events import CopiesRead, ReadEvent
from shared.contracts.topology import TRACKING_QUEUE

_log = structlog.get_logger(__name__)

#: Events that travel in one message.
MAX_GROUP = 500
REPLAY_SECONDS = 1.0


class Publishes(Protocol):
    """Takes a payload for good, or raises `BrokerUnavailable`."""

    async def publish(self, queue: str, payload: Payload) -> None: ...


class Recorder:
    """Whoever records an event goes on when it is safe. While one group is on its way, the next one comes together."""

    def __init__(self, publisher: Publishes, journal: Journal) -> None:
        self._publisher = publisher
        self._journal = journal
        self._journal_use = asyncio.Lock()
        self._waiting: list[tuple[ReadEvent, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None
        #: The broker is away: nobody waits for it to say so again.
        self.is_journalling = False

    def record(self, event: ReadEvent) -> asyncio.Future[None]:
        """Done when the event will be counted, whatever happens to this process; `JournalFull` when it may not be."""
        safe: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, safe))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return safe

    async def _send(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                error = await self._keep(CopiesRead(tuple(event for event, _ in group)))
                for _, safe in group:
                    if safe.done():
                        continue  # the reader went away
                    if error is None:
                        safe.set_result(None)
                    else:
                        safe.set_exception(error)
        finally:
            self._sending = None

    async def _keep(self, payload: CopiesRead) -> JournalFull | None:
        """`None` when the payload is safe."""
        try:
            if not await self._is_published(payload):
                async with self._journal_use:
                    await asyncio.to_thread(self._journal.append, payload)
        except JournalFull as error:
            _log.error("events are refused", error=str(error))
            return error
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            _log.exception("events are refused")
            return JournalFull(str(error))
        return None

    async def _is_published(self, payload: CopiesRead) -> bool:
        if self.is_journalling:
            return False
        try:
            await self._publisher.publish(TRACKING_QUEUE, payload)
        except BrokerUnavailable as error:
            _log.warning("events go to the journal", error=str(error))
            self.is_journalling = True
            return False
        return True

    async def replay(self) -> None:
        """Hand what is in the journal to the broker whenever it is there, until cancelled."""
        while True:
            try:
                await self._replay()
            except BrokerUnavailable:
                pass
            except OSError as error:
                _log.error("the journal cannot be read", error=str(error))
            await asyncio.sleep(REPLAY_SECONDS)

    async def _replay(self) -> None:
        async with self._journal_use:
            self._journal.end_segment()
            segments = await asyncio.to_thread(self._journal.segments)
        for segment in segments:
            for payload in await asyncio.to_thread(self._journal.read, segment):
                await self._publisher.publish(TRACKING_QUEUE, payload)
                self.is_journalling = False
            async with self._journal_use:
                await asyncio.to_thread(self._journal.remove, segment)
            _log.info("events replayed", segment=segment.name)
        if not segments:
            # The bound was reached before the first event, or the segments held none.
            self.is_journalling = False
