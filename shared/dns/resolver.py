"""Questions to the DNS, answered in types of our own; cached by TTL, bounded in size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

#: Answers kept; some kilobytes each.
CACHE_SIZE = 5_000


class NoSuchDomainError(Exception):
    """NXDOMAIN, or a name that cannot be one."""


class LookupFailedError(Exception):
    """SERVFAIL, silence or nonsense: it may work later."""


@dataclass(frozen=True, slots=True)
class MxRecord:
    preference: int
    #: Without the root's dot; empty for the null MX of RFC 7505.
    host: str


class Resolver:
    """Asks one resolver, or the system's; `lifetime_seconds` bounds a question with all its retries."""

    def __init__(
        self, nameserver: tuple[str, int] | None = None, *, lifetime_seconds: float = 10, cache_size: int = CACHE_SIZE
    ) -> None:
        """Who waits for a record to appear sets `cache_size` to 0, and asks each time."""
        self._resolver = dns.asyncresolver.Resolver(configure=nameserver is None)
        if nameserver is not None:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*nameserver)]
        if cache_size:
            self._resolver.cache = dns.resolver.LRUCache(cache_size)
        self._resolver.lifetime = lifetime_seconds

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        """The MX records in no order, empty when the domain has none. Raises the two errors above."""
        return tuple(MxRecord(rdata.preference, _host(rdata.exchange)) for rdata in await self._ask(domain, "MX"))

    async def addresses(self, host: str, family: str) -> tuple[str, ...]:
        """The addresses of family "A" or "AAAA", empty when there are none. Raises the two errors above."""
        return tuple(rdata.address for rdata in await self._ask(host, family))

    async def txt(self, name: str) -> tuple[str, ...]:
        """The TXT records, each of its strings joined, empty when there are none. Raises the two errors above."""
        return tuple(b"".join(rdata.strings).decode("utf-8", "replace") for rdata in await self._ask(name, "TXT"))

    async def names(self, name: str, kind: str) -> tuple[str, ...]:
        """The names that "PTR" or "CNAME" records lead to, lower-case, none when there are none. Raises the two errors
        above."""
        return tuple(_host(rdata.target).lower() for rdata in await self._ask(name, kind))

    async def _ask(self, name: str, rdtype: str) -> list[Any]:
        try:
            question = dns.name.from_text(name, dns.name.root)
            return list(await self._resolver.resolve(question, rdtype, raise_on_no_answer=False))
        except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel) as exc:
            raise NoSuchDomainError(f"{name} does not exist") from exc
        except dns.exception.Timeout as exc:
            raise LookupFailedError(f"no answer in time about {name} {rdtype}") from exc
        except (dns.exception.DNSException, UnicodeError) as exc:
            raise LookupFailedError(f"the DNS failed to answer about {name} {rdtype}") from exc


def _host(name: dns.name.Name) -> str:
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True)
