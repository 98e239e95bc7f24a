"""The hosts that take a domain's mail (RFC 5321 §5.1, RFC 7505)."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from random import random as system_random

from shared.dns.resolver import LookupFailedError, MxRecord, NoSuchDomainError, Resolver

#: However many a domain names (1,000 in one answer have been seen), no more are looked up and tried.
MAX_HOSTS = 5
MAX_ADDRESSES = 10
#: A failed lookup is not repeated for so long (RFC 9520 §3.2): each may take many seconds, and all recipients of the
#: domain would wait for it one after the other.
FAILED_SECONDS = 60.0
MAX_FAILED = 5_000

#: IPv6 that a gateway turns into IPv4 (RFC 6052), as 6to4 and mapped addresses are: the address inside decides.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class MailHost:
    """One address of one mail exchanger."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class NoMailHost:
    """Why a domain's mail can go nowhere, for ever or for now."""

    is_permanent: bool
    #: RFC 3463 and RFC 7505.
    enhanced_status: str
    because: str


class MxLookup:
    """Mail hosts by preference, equal ones shuffled by `random`; of each the first IPv6 address before the first IPv4.

    Hosts at loopback, private or otherwise not public addresses are left out unless `allow_private_hosts`: an MX record
    is anybody's to write, and must not lead us into our own network. So are those that `is_ours` says yes to: mail that
    comes back to its sender goes round for ever.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        allow_private_hosts: bool = False,
        is_ours: Callable[[MailHost], bool] = lambda _host: False,
        random: Callable[[], float] = system_random,
        now_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resolver = resolver
        self._allow_private_hosts = allow_private_hosts
        self._is_ours = is_ours
        self._random = random
        self._now_seconds = now_seconds
        self._failed: OrderedDict[str, tuple[float, NoMailHost]] = OrderedDict()

    async def mail_hosts(self, domain: str) -> tuple[MailHost, ...] | NoMailHost:
        """At least one host, in the order to try, or why there is none. `domain` in A-labels."""
        until_seconds, failure = self._failed.get(domain, (0.0, None))
        if failure is not None and self._now_seconds() < until_seconds:
            return failure
        found = await self._look_up(domain)
        self._failed.pop(domain, None)
        if isinstance(found, NoMailHost) and not found.is_permanent:
            self._failed[domain] = (self._now_seconds() + FAILED_SECONDS, found)
            if len(self._failed) > MAX_FAILED:
                self._failed.popitem(last=False)
        return found

    async def _look_up(self, domain: str) -> tuple[MailHost, ...] | NoMailHost:
        try:
            records = await self._resolver.mx(domain)
        except NoSuchDomainError as exc:
            return NoMailHost(True, "5.1.2", str(exc))
        except LookupFailedError as exc:
            return NoMailHost(False, "4.4.3", str(exc))
        if records and not any(record.host for record in records):
            return NoMailHost(True, "5.1.10", f"{domain} takes no mail (null MX)")
        # The domain itself stands in only where there is no MX record at all (RFC 5321 §5.1).
        names = self._ordered(records) if records else [domain]
        return await self._with_addresses(domain, names)

    def _ordered(self, records: tuple[MxRecord, ...]) -> list[str]:
        named = [(record.preference, self._random(), record.host) for record in records if record.host]
        return [host for _, _, host in sorted(named)][:MAX_HOSTS]

    async def _with_addresses(self, domain: str, names: list[str]) -> tuple[MailHost, ...] | NoMailHost:
        found = await asyncio.gather(*[self._addresses(name, family) for name in names for family in ("AAAA", "A")])
        every = [
            MailHost(name, address)
            for name, ipv6, ipv4 in zip(names, found[::2], found[1::2], strict=True)
            for pair in zip_longest(ipv6 or (), ipv4 or ())
            for address in pair
            if address is not None
        ]
        allowed = [host for host in every if self._allow_private_hosts or is_public(host.address)]
        others = [host for host in allowed if self._allow_private_hosts or not self._is_ours(host)]
        if others:
            return tuple(others[:MAX_ADDRESSES])
        if None in found:
            return NoMailHost(False, "4.4.3", f"no address was found in time for the mail hosts of {domain}")
        if allowed:
            return NoMailHost(True, "5.4.6", f"the mail hosts of {domain} are this one: the mail would go in a circle")
        if every:
            return NoMailHost(True, "5.4.4", f"the mail hosts of {domain} have no public address")
        return NoMailHost(True, "5.4.4", f"the mail hosts of {domain} have no address")

    async def _addresses(self, name: str, family: str) -> tuple[str, ...] | None:
        """`None` when the lookup failed and may work later."""
        try:
            return await self._resolver.addresses(name, family)
        except NoSuchDomainError:
            return ()
        except LookupFailedError:
            return None


def is_public(address: str) -> bool:
    """True for an address anybody may be sent to: not loopback, private, link-local, multicast or reserved."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        in_nat64 = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        inside = ip.ipv4_mapped or ip.sixtofour or in_nat64
        if inside is not None:
            ip = inside
    return ip.is_global and not ip.is_multicast
