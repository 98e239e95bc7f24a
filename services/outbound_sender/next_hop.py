"""Where a domain's mail goes: to the relay, or to the domain's mail exchangers (RFC 5321 §5)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from services.outbound_sender.connection import Connection, Timeouts
from services.outbound_sender.transport import Target, connect, opportunistic_tls
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.domain_limit import UNLIMITED, DomainLimits
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


@dataclass(frozen=True, slots=True)
class LimitedHost:
    """The host to talk to is under a limit that the recipient was not released under: nobody was talked to."""

    pattern: str


class NextHop:
    """Opens connections for the pipeline. `hostname` is how this node names itself in EHLO; `domain_limits` are those
    in force, as far as the route's hosts are mail exchangers."""

    def __init__(
        self,
        route: Route,
        *,
        hostname: str,
        timeouts: Timeouts | None = None,
        domain_limits: Callable[[], DomainLimits] = DomainLimits,
    ) -> None:
        self._route = route
        self._domain_limits = domain_limits
        self._hostname = hostname
        self._timeouts = timeouts or Timeouts()
        self._tls_context = opportunistic_tls()

    async def open_connection(self, domain: str, domain_limit: str = UNLIMITED) -> Connection | Outcome | LimitedHost:
        """A connection to the first target that gives service, else the last one's failure.

        `domain_limit` is what the recipient was released under; a host under another `mx:` limit is not talked to,
        unless the domain has a limit of its own.
        """
        targets = await self._route.targets_for(domain)
        if isinstance(targets, Outcome):
            return targets
        failure = Outcome(OutcomeKind.DEFERRED, f"no host for {domain}")
        limits = self._domain_limits()
        for target in targets:
            of_host = limits.of_host(target.host)
            if of_host not in (UNLIMITED, domain_limit) and not limits.of_domain(domain):
                return LimitedHost(of_host)
            opened = await connect(
                target, hostname=self._hostname, timeouts=self._timeouts, tls_context=self._tls_context
            )
            if isinstance(opened, Connection):
                return opened
            failure = opened
        return failure
