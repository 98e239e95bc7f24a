"""Slowing down by itself: what destinations answered to all nodes is added up, and their rates follow."""

from __future__ import annotations

import asyncio

import structlog

from shared.core.slowdown import INTERVAL_SECONDS, adjusted
from shared.store import slowdowns
from shared.store.engine import Database, StoreUnavailable
from shared.store.slowdowns import Standing

_log = structlog.get_logger(__name__)


class Slowing:
    """Adjusts the rates of destinations that refuse for volume, for as long as the process lives."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Adjust every few seconds until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.adjust()
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("rates not adjusted", error=str(error))

    async def adjust(self) -> None:
        """Add up what the nodes told since the last time, and let the rates follow."""
        async with self._database.raw_transaction() as connection:
            if not await slowdowns.try_lock(connection):
                return
            told = await slowdowns.add_up(connection)
            to_lift = list(await slowdowns.stale(connection))
            known = await slowdowns.standings(connection, sorted({*told, *to_lift}))
            for destination, (tally, because) in sorted(told.items()):
                standing = known.get(destination, Standing(None, None))
                after = adjusted(standing.slowdown, tally, limit_per_minute=standing.limit_per_minute)
                if after is not None:
                    await slowdowns.slow(connection, destination, after, because=because)
                elif standing.slowdown is not None:
                    to_lift.append(destination)
                if after != standing.slowdown:
                    _log.info("rate adjusted", destination=destination, slowed_to=after and after.per_minute)
            if to_lift:
                await slowdowns.lift(connection, to_lift)
