"""Scoring: what was refused in our sessions, or came back, counts for its member once; who has too much is held."""

from __future__ import annotations

import asyncio

import structlog

from shared.core.bounce import diagnose
from shared.store import bounces
from shared.store.engine import Database, StoreUnavailable

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class Scoring:
    """Any number of schedulers score; each takes what nobody else has taken."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            try:
                while await self.step():
                    pass
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("bounces not scored yet", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def step(self) -> int:
        """Score some; how many it were."""
        async with self._database.raw_transaction() as connection:
            return await bounces.score(connection, diagnose)
