"""The slots' connections: opened to where a job goes, kept as long as they serve, and closed."""

from __future__ import annotations

from collections.abc import Callable

from services.outbound_sender.held_batch import Job
from services.outbound_sender.host_places import HostFull, HostPlaces
from services.outbound_sender.kept_connection import Kept, LimitedHost, NextHop
from shared.core.address import Address
from shared.core.delivery import Outcome
from shared.core.domain_limit import DomainLimits


class Connections:
    """Opens and closes them; counts those that are open."""

    def __init__(
        self,
        next_hop: NextHop,
        places: HostPlaces,
        *,
        destination: Callable[[Address], str],
        domain_limits: Callable[[], DomainLimits],
    ) -> None:
        """`destination` tells which recipients may share a connection. `domain_limits` are those in force: a connection
        that was opened under others is not gone on with."""
        self._next_hop = next_hop
        self._places = places
        self._destination = destination
        self._domain_limits = domain_limits
        self.open = 0

    async def connect(self, job: Job, kept: Kept) -> Outcome | HostFull | LimitedHost | None:
        """Have a usable connection to the job's destination in `kept`, or say why there is none."""
        destination = self._destination(job.address)
        if kept.connection is not None and (
            kept.destination != destination
            or not kept.connection.is_usable
            or self._places.has_too_many(kept.hosts)
            or (job.held.moments is None and not kept.is_under(self._domain_limits()))
        ):
            await self.close(kept)
        if kept.connection is not None:
            return None
        kept.domain_limits = self._domain_limits()
        opened = await self._next_hop.open_connection(job.address.ascii_domain, job.held.batch.domain_limit)
        if isinstance(opened, Outcome | HostFull | LimitedHost):
            return opened
        kept.connection, kept.destination = opened, destination
        self.open += 1
        return None

    async def close(self, kept: Kept) -> None:
        """Give up the connection, if there is one."""
        connection, kept.connection, kept.destination, kept.messages = kept.connection, None, None, 0
        if connection is not None:
            self.open -= 1
            try:
                await connection.quit()
            finally:
                self._places.give_back(connection.hosts)
