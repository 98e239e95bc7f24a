"""Which limit the domains of an expansion are under, looked up before their recipients are made.

What is not found out in time is left to the nodes: one that reaches a host whose limit is another's sends nothing and
hands the recipient back with the right limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.core.domain_limit import UNLIMITED, DomainLimits
from shared.dns.resolver import LookupFailedError, MxRecord, NoSuchDomainError
from shared.store import domain_limits
from shared.store.engine import Database

#: Questions to the DNS at once, and how long a page may wait for all of its answers.
LOOKUPS_AT_ONCE = 100
PAGE_SECONDS = 5.0


class MxRecords(Protocol):
    async def mx(self, domain: str) -> tuple[MxRecord, ...]: ...


@dataclass(frozen=True, slots=True)
class Destinations:
    """Fills the table of destinations, page by page; without any limit it does nothing."""

    database: Database
    resolver: MxRecords

    async def resolve(self, mailing_id: int, *, page_size: int) -> None:
        """Look up the domains of the mailing's next page that are not known."""
        async with self.database.raw() as connection:
            limits = DomainLimits(await domain_limits.patterns(connection))
            domains = await domain_limits.unresolved(connection, mailing_id, page_size=page_size) if limits else []
        if domains:
            found = await self._limits_of(domains, limits)
            async with self.database.raw() as connection:
                await domain_limits.remember(connection, found)

    async def _limits_of(self, domains: Sequence[str], limits: DomainLimits) -> dict[str, str]:
        """domain → pattern, '' for none; a domain whose answer did not come in time is missing."""
        found = {domain: limits.of_domain(domain) for domain in domains}
        if not limits.has_mx:
            return found
        turn = asyncio.Semaphore(LOOKUPS_AT_ONCE)

        async def look_up(domain: str) -> None:
            del found[domain]
            async with turn:
                hosts = await self._hosts(domain)
            if hosts is not None:
                found[domain] = limits.of(domain, hosts)

        lookups = [asyncio.create_task(look_up(domain)) for domain, limit in list(found.items()) if limit == UNLIMITED]
        if lookups:
            _, late = await asyncio.wait(lookups, timeout=PAGE_SECONDS)
            for lookup in late:
                lookup.cancel()
            await asyncio.gather(*lookups, return_exceptions=True)
        return found

    async def _hosts(self, domain: str) -> Sequence[str] | None:
        """The domain's mail exchangers in the order to try, the domain itself where it has none; `None`: unknown."""
        try:
            records = await self.resolver.mx(domain)
        except NoSuchDomainError:
            return []
        except LookupFailedError:
            return None
        return [record.host for record in sorted(records, key=lambda record: record.preference)] or [domain]
