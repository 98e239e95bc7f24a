"""A node's sign of life: a name, held by a lease that is renewed on a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from shared.core.node import LeftBecause, NodeKind
from shared.runtime.clock import seconds_since_boot
from shared.runtime.lifecycle import Ending
from shared.store import nodes
from shared.store.engine import Database, StoreUnavailable
from shared.store.nodes import Configuration, Lease, Vitals

_log = structlog.get_logger(__name__)

#: Parts of the time after which a lease is dead (15 s): it is renewed every 2 s, and trusted for 10 s.
RENEWAL_PART = 2 / 15
TRUST_PART = 10 / 15


class LeaseKeeper:
    """Holds the lease of one node. What the node sends, it sends only while `is_fresh`."""

    def __init__(
        self,
        database: Database,
        kind: NodeKind,
        name: str | None,
        *,
        lease_seconds: float,
        vitals: Callable[[], Vitals],
        on_configuration: Callable[[Configuration], None],
        on_lost: Callable[[], None],
        works_without_lease: bool = False,
    ) -> None:
        """`database` is used by nobody else. `on_lost` is called when the node's work was taken over.

        `works_without_lease`: the node works, and obeys the settings of its name, also while a predecessor that was
        killed has the lease.
        """
        self._database = database
        self._kind = kind
        self._wanted_name = name
        self._renew_every_seconds = lease_seconds * RENEWAL_PART
        self._trusted_for_seconds = lease_seconds * TRUST_PART
        self._lease_seconds = lease_seconds
        self._vitals = vitals
        self._on_configuration = on_configuration
        self._on_lost = on_lost
        self._works_without_lease = works_without_lease
        self._lease: Lease | None = None
        self._name = name or kind.value
        self._renewed_at_seconds = float("-inf")
        self._renew_now = asyncio.Event()

    @property
    def lease(self) -> Lease | None:
        """The lease that is held; `None` before `acquire`, after `leave`, and while a lost one is replaced."""
        return self._lease

    @property
    def name(self) -> str:
        """The node's name, also while a lost lease is replaced."""
        return self._name

    @property
    def is_fresh(self) -> bool:
        """Whether the last renewal is so young that nobody can have taken over."""
        return self._lease is not None and seconds_since_boot() - self._renewed_at_seconds < self._trusted_for_seconds

    async def acquire(self) -> None:
        """Get a name; waits for the database. `Ending` when a live process has the name that was asked for."""
        while True:
            try:
                if await self._try_acquire():
                    return
            except StoreUnavailable as error:
                _log.warning("database is down", error=str(error))
            await asyncio.sleep(0.5)

    async def _try_acquire(self) -> bool:
        started = seconds_since_boot()
        async with self._database.raw() as connection:
            lease = await nodes.register(connection, self._kind, self._wanted_name)
        if lease is not None:
            self._lease, self._name = lease, lease.name
            self._renewed_at_seconds = started
            self._renew_now.set()  # Settings are read, and vitals told, with a renewal.
            _log.info("node registered", node=lease.name)
            return True
        assert self._wanted_name is not None  # noqa: S101 - a slot is always to be had
        await self._wait_for_predecessor(self._wanted_name)
        return False

    async def _wait_for_predecessor(self, name: str) -> None:
        """Return once the name is free: a predecessor that was killed gives no sign for a whole lease."""
        first = await self._renewals_of_predecessor(name)
        deadline = seconds_since_boot() + self._lease_seconds
        while seconds_since_boot() < deadline:
            await self._turn()
            now = await self._renewals_of_predecessor(name)
            if now is None:
                return
            if now != first:
                raise Ending(f"a live process holds the name {name!r}: give this one another LISTFLEET_NODE_NAME")
        if first is not None:
            async with self._database.raw() as connection:
                await nodes.leave(connection, first[0], LeftBecause.LOST, seen_renewals=first[1])

    async def _renewals_of_predecessor(self, name: str) -> tuple[UUID, int] | None:
        async with self._database.raw() as connection:
            if self._works_without_lease:
                self._on_configuration(await nodes.configuration_for(connection, self._kind, name))
            return await nodes.renewals_of(connection, name)

    async def _turn(self) -> None:
        """Return when it is time to renew."""
        try:
            async with asyncio.timeout(self._renew_every_seconds):
                await self._renew_now.wait()
        except TimeoutError:
            pass
        self._renew_now.clear()

    async def run(self) -> None:
        """Renew until cancelled; after a takeover, go on under a new lease."""
        while True:
            await self._turn()
            try:
                await self._renew()
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("lease not renewed", error=repr(error))
                await asyncio.sleep(min(0.5, self._renew_every_seconds))

    def renew_soon(self) -> None:
        """Renew without waiting for the next turn: vitals or settings have changed."""
        self._renew_now.set()

    async def _renew(self) -> None:
        lease = self._lease
        if lease is None:
            await self.acquire()
            return
        started = seconds_since_boot()
        # A renewal that hangs is given up while there is time for others, on new connections.
        async with asyncio.timeout(self._trusted_for_seconds / 2), self._database.raw() as connection:
            configuration = await nodes.renew(connection, lease, self._vitals())
        if configuration is not None:
            self._renewed_at_seconds = started
            self._on_configuration(configuration)
            return
        _log.warning("lease lost: others took over", node=lease.name)
        self._lease, self._renewed_at_seconds = None, float("-inf")
        self._on_lost()
        await self.acquire()

    async def leave(self) -> None:
        """Say good-bye; when the database is down, the others find out by themselves."""
        if self._lease is None:
            return
        lease, self._lease = self._lease, None
        try:
            async with self._database.raw() as connection:
                await nodes.leave(connection, lease.incarnation, LeftBecause.DRAINED)
        except StoreUnavailable as error:
            _log.warning("left without a word", error=str(error))
