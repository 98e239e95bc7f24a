"""Stopping: what is released of stopped mailings is taken back, and what is to end without an attempt ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from shared.store import endings, stops
from shared.store.endings import CHUNK
from shared.store.engine import Database, RawConnection, StoreUnavailable

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class Stopper:
    """Looks for mailings that somebody paused or cancelled, or that are past their time, and for deliveries that
    somebody cancelled. The nodes know by themselves what they may not start."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            try:
                await self.look()
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("stops put off", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Take back, and end, all there is."""
        async with self._database.raw() as connection:
            if stopped := await stops.stopped_mailings(connection):
                while await endings.revoke_released(connection, stopped):
                    pass
            for mailing_id, state in await stops.mailings_to_end(connection):
                await self._end(connection, partial(endings.end_waiting, mailing_id=mailing_id, state=state))
            await self._end(connection, endings.end_cancelled)

    async def _end(self, connection: RawConnection, end: Callable[[RawConnection], Awaitable[int]]) -> None:
        while await end(connection) == CHUNK:
            pass
