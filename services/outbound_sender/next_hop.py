"""Where a domain's mail goes: to the relay, or to the domain's mail exchangers (RFC 5321 §5)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import ClassVar, Protocol

from services.outbound_sender.connection import Connection
from services.outbound_sender.dead_hosts import DeadHosts
from services.outbound_sender.host_places import HostFull, HostPlaces
from services.outbound_sender.kept_connection import LimitedHost
from services.outbound_sender.source_addresses import SourceAddresses
from services.outbound_sender.transport import Encryption, Target, Terms, connect, opportunistic_tls
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.domain_limit import UNLIMITED, DomainLimits
from shared.core.tls_policy import TlsPolicy
from shared.dns.mx import MailHost, NoMailHost

#: Greetings of one domain that are waited for to the end: ten that come a byte a second would hold a slot for an hour.
MAX_TIMEOUTS = 2


class MailHostLookup(Protocol):
    async def mail_hosts(self, domain: str) -> tuple[MailHost, ...] | NoMailHost: ...


class Route(Protocol):
    @property
    def is_only_way(self) -> bool:
        """Whether everything goes this way, and is tried even where nobody answered a moment ago."""
        ...

    async def targets_for(self, domain: str) -> tuple[Target, ...] | Outcome:
        """At least one target, in the order to try; or the outcome for everybody at this domain."""
        ...


@dataclass(frozen=True, slots=True)
class RelayRoute:
    """Everything goes to one host, looked up by the system at each connection, so that it may move."""

    host: str
    port: int

    #: A relay that was restarted must not be left alone for minutes.
    is_only_way: ClassVar[bool] = True

    async def targets_for(self, domain: str) -> tuple[Target, ...] | Outcome:  # noqa: ARG002 - the same for all
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as exc:
            return Outcome(OutcomeKind.DEFERRED, f"the relay {self.host} has no address: {exc}")
        return (Target(self.host, tuple(dict.fromkeys(str(address[0]) for *_, address in found)), self.port),)


@dataclass(frozen=True, slots=True)
class MxRoute:
    """Each domain's own mail exchangers, all at one port."""

    lookup: MailHostLookup
    port: int = 25

    is_only_way: ClassVar[bool] = False

    async def targets_for(self, domain: str) -> tuple[Target, ...] | Outcome:
        found = await self.lookup.mail_hosts(domain)
        if isinstance(found, NoMailHost):
            kind = OutcomeKind.REFUSED if found.is_permanent else OutcomeKind.DEFERRED
            return Outcome(kind, f"{found.enhanced_status} {found.because}")
        names = dict.fromkeys(host.name for host in found)
        return tuple(
            Target(name, tuple(host.address for host in found if host.name == name), self.port) for name in names
        )


class NextHop:
    """Opens connections for the pipeline, on these `terms` but for encryption, which is the domain's."""

    def __init__(
        self,
        route: Route,
        terms: Terms,
        *,
        policy: Callable[[str], TlsPolicy] = lambda _domain: TlsPolicy.OPPORTUNISTIC,
        sources: SourceAddresses | None = None,
        places: HostPlaces | None = None,
        domain_limits: Callable[[], DomainLimits] = DomainLimits,
        verified_tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """Without `places` a host may have any number of connections; `domain_limits` are those in force, as far as the
        route's hosts are mail exchangers."""
        self._route = route
        self._terms = terms
        self._policy = policy
        self._sources = sources or SourceAddresses()
        self._places = places or HostPlaces()
        self._domain_limits = domain_limits
        self._opportunistic = Encryption(opportunistic_tls())
        # The certificates of all authorities are some megabytes.
        self._required = cache(lambda: Encryption(verified_tls(), is_required=True))
        self._dead_hosts = DeadHosts()

    async def open_connection(
        self, domain: str, domain_limit: str = UNLIMITED
    ) -> Connection | Outcome | HostFull | LimitedHost:
        """A connection to the first target that gives service, else the last one's failure.

        Who refused service to one source address of ours is asked from the next one. A host that has as many
        connections as it may have is waited for: those after it are for when it gives no service. Whoever got a
        connection gives its place back.

        `domain_limit` is what the recipient was released under; a host under another `mx:` limit is not talked to,
        unless the domain has a limit of its own.
        """
        targets = await self._route.targets_for(domain)
        if isinstance(targets, Outcome):
            return targets
        is_required = self._policy(domain) is TlsPolicy.REQUIRED
        now_seconds = asyncio.get_running_loop().time
        terms = replace(
            self._terms,
            encryption=self._required() if is_required else self._opportunistic,
            last_try_at_seconds=now_seconds() + MAX_TIMEOUTS * self._terms.timeouts.command_seconds,
        )
        failure = Outcome(OutcomeKind.DEFERRED, f"no host for {domain}")
        limits = self._domain_limits()
        if not limits.of_domain(domain):
            targets = _from_limit_on(targets, domain_limit, limits)
        for turn in range(self._sources.turns):
            terms = replace(terms, source_for=partial(self._sources.towards, domain=domain, turn=turn))
            refusing = []
            for target in targets:
                of_host = limits.of_host(target.host)
                if of_host not in (UNLIMITED, domain_limit) and not limits.of_domain(domain):
                    return LimitedHost(of_host)
                alive = self._alive(target)
                opened = alive if isinstance(alive, Outcome) else await self._connect(alive, terms)
                if isinstance(opened, Connection | HostFull):
                    return opened
                failure = opened
                if now_seconds() > terms.last_try_at_seconds:
                    return failure
                if opened.reply is not None:
                    refusing.append(target)
            targets = tuple(refusing)
        return failure

    async def _connect(self, target: Target, terms: Terms) -> Connection | Outcome | HostFull:
        """Holds a place at the host while it connects; a connection keeps it."""
        hosts = {target.host, *target.addresses}
        full = self._places.take(hosts)
        if full is not None:
            return full
        opened: Connection | Outcome | None = None
        try:
            opened = await connect(target, terms, self._dead_hosts)
        finally:
            if not isinstance(opened, Connection):
                self._places.give_back(hosts)
        if isinstance(opened, Connection):
            opened.hosts = hosts
        return opened

    def _alive(self, target: Target) -> Target | Outcome:
        """The target without the addresses where nobody answered a moment ago; if that is all of them, what they said.

        Also where there is no other: all recipients of its domain would wait for the same timeout, one after the
        other, on the connections of everybody else. They are deferred at once, and the first retry asks again.
        """
        why = {address: self._dead_hosts.why(address) for address in target.addresses}
        alive = tuple(address for address, because in why.items() if because is None)
        if alive or self._route.is_only_way:
            return replace(target, addresses=alive or target.addresses)
        because = next(because for because in why.values() if because is not None)
        return Outcome(OutcomeKind.DEFERRED, f"{because} (found within the last minutes)", None, target.host)


def _from_limit_on(targets: Sequence[Target], domain_limit: str, limits: DomainLimits) -> tuple[Target, ...]:
    """The targets without those of the limits whose turn was before `domain_limit`'s.

    The recipient was released under those before, and got no service there. Were they asked for again, it would go from
    one limit to the next for ever, without an attempt that counts.
    """
    of_hosts = [limits.of_host(target.host) for target in targets]
    if domain_limit == UNLIMITED or domain_limit not in of_hosts:
        return tuple(targets)
    before = set(of_hosts[: of_hosts.index(domain_limit)]) - {UNLIMITED}
    return tuple(target for target, of_host in zip(targets, of_hosts, strict=True) if of_host not in before)
