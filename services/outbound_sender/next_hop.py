"""Where a domain's mail goes: to the relay, or to the domain's mail exchangers (RFC 5321 §5)."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Protocol

from services.outbound_sender.bandwidth import Bandwidth
from services.outbound_sender.connection import Connection, Timeouts
from services.outbound_sender.host_places import HostFull, HostPlaces
from services.outbound_sender.transport import Target, connect, opportunistic_tls
from shared.core.delivery import Outcome, OutcomeKind
from shared.dns.mx import MailHost, NoMailHost


class MailHostLookup(Protocol):
    async def mail_hosts(self, domain: str) -> tuple[MailHost, ...] | NoMailHost: ...


class Route(Protocol):
    async def targets_for(self, domain: str) -> tuple[Target, ...] | Outcome:
        """At least one target, in the order to try; or the outcome for everybody at this domain."""
        ...


@dataclass(frozen=True, slots=True)
class RelayRoute:
    """Everything goes to one host, looked up by the system at each connection, so that it may move."""

    host: str
    port: int

    async def targets_for(self, domain: str) -> tuple[Target, ...] | Outcome:  # noqa: ARG002 - the same for all
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as exc:
            return Outcome(OutcomeKind.DEFERRED, f"the relay {self.host} has no address: {exc}")
        return tuple(Target(self.host, str(address[0]), self.port) for *_, address in found)


@dataclass(frozen=True, slots=True)
class MxRoute:
    """Each domain's own mail exchangers, all at one port."""

    lookup: MailHostLookup
    port: int = 25

    async def targets_for(self, domain: str) -> tuple[Target, ...] | Outcome:
        found = await self.lookup.mail_hosts(domain)
        if isinstance(found, NoMailHost):
            kind = OutcomeKind.REFUSED if found.is_permanent else OutcomeKind.DEFERRED
            return Outcome(kind, f"{found.enhanced_status} {found.because}")
        return tuple(Target(host.name, host.address, self.port) for host in found)


class NextHop:
    """Opens connections for the pipeline. `hostname` is how this node names itself in EHLO."""

    def __init__(
        self,
        route: Route,
        *,
        hostname: str,
        timeouts: Timeouts | None = None,
        places: HostPlaces | None = None,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        """Without `places` and `bandwidth` nothing is limited."""
        self._route = route
        self._hostname = hostname
        self._timeouts = timeouts or Timeouts()
        self._places = places or HostPlaces()
        self._bandwidth = bandwidth
        self._tls_context = opportunistic_tls()

    async def open_connection(self, domain: str) -> Connection | Outcome | HostFull:
        """A connection to the first target that gives service, else the last one's failure.

        A host that has as many connections as it may have is waited for: those after it are for when it gives no
        service. Whoever got a connection gives its place back.
        """
        targets = await self._route.targets_for(domain)
        if isinstance(targets, Outcome):
            return targets
        failure = Outcome(OutcomeKind.DEFERRED, f"no host for {domain}")
        for target in targets:
            hosts = {target.host, target.address}
            full = self._places.take(hosts)
            if full is not None:
                return full
            opened: Connection | Outcome | None = None
            try:
                opened = await connect(
                    target,
                    hostname=self._hostname,
                    timeouts=self._timeouts,
                    tls_context=self._tls_context,
                    bandwidth=self._bandwidth,
                )
            finally:
                if not isinstance(opened, Connection):
                    self._places.give_back(hosts)
            if isinstance(opened, Connection):
                return opened
            failure = opened
        return failure
