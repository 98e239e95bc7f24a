"""Takeover: a node that gives no sign of life loses its claims, and the others send what it held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import structlog

from shared.core.node import LeftBecause
from shared.runtime.clock import seconds_since_boot
from shared.runtime.lease import RENEWAL_PART
from shared.store import batches, nodes
from shared.store.engine import Database, StoreUnavailable

_log = structlog.get_logger(__name__)


class LeaseWatch:
    """Knows which leases are dead, by one scheduler's own clock and own eyes.

    A lease is dead when its counter stood still for `lease_seconds` during which every look of ours succeeded; a gap
    between two looks (the database stalled or failed over, or we did) starts the watch anew, so it kills nobody.
    """

    def __init__(self, *, lease_seconds: float, gap_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._gap_seconds = gap_seconds
        self._looked_at_seconds = float("-inf")
        self._seen: dict[UUID, tuple[int, float]] = {}

    def look(self, renewals: Mapping[UUID, int], now_seconds: float) -> Sequence[tuple[UUID, int]]:
        """The leases that are dead by now, each with the count that it stood still at."""
        if now_seconds - self._looked_at_seconds > self._gap_seconds:
            self._seen.clear()
        self._looked_at_seconds = now_seconds
        self._seen = {
            lease: self._seen[lease] if self._seen.get(lease, (None,))[0] == count else (count, now_seconds)
            for lease, count in renewals.items()
        }
        return [
            (lease, count)
            for lease, (count, since_seconds) in self._seen.items()
            if now_seconds - since_seconds >= self._lease_seconds
        ]


class Takeover:
    """Watches all leases and takes over from the dead. `has_written_lately` vouches for our own writes."""

    def __init__(
        self,
        database: Database,
        *,
        lease_seconds: float,
        has_written_lately: Callable[[], bool],
        on_recipients: Callable[[], None],
    ) -> None:
        self._database = database
        self._look_every_seconds = lease_seconds * RENEWAL_PART
        # A turn is a look, a takeover and a pause, each of one interval at most.
        self._watch = LeaseWatch(lease_seconds=lease_seconds, gap_seconds=self._look_every_seconds * 3.5)
        self._has_written_lately = has_written_lately
        self._on_recipients = on_recipients

    async def run(self) -> None:
        """Look every 2 s (at a lease of 15 s) until cancelled."""
        while True:
            try:
                dead = await self._look()
                await self._take_over(dead)
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("leases not looked after", error=repr(error))
            await asyncio.sleep(self._look_every_seconds)

    async def _look(self) -> Sequence[tuple[UUID, int]]:
        if not self._has_written_lately():
            return []
        async with asyncio.timeout(self._look_every_seconds), self._database.raw() as connection:
            renewals = await nodes.live_leases(connection)
        return self._watch.look(renewals, seconds_since_boot())

    async def _take_over(self, dead: Sequence[tuple[UUID, int]]) -> None:
        """End dead leases, and revoke every claim without a live one: also what a node left behind that said good-bye
        while a peer still owed it a reply."""
        async with asyncio.timeout(self._look_every_seconds), self._database.raw() as connection:
            for lease, count in dead:
                if await nodes.leave(connection, lease, LeftBecause.LOST, seen_renewals=count):
                    _log.warning("node lost", incarnation=str(lease))
            recipients = await batches.take_over_orphans(connection)
        if recipients:
            _log.warning("recipients taken over", recipients=recipients)
            self._on_recipients()
