"""SPF (RFC 7208): whether a host may send mail in a domain's name; bounded in questions and in time."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass

from shared.core.spf import (
    InvalidRecord,
    Mechanism,
    Question,
    SpfRecord,
    SpfResult,
    expand,
    read_record,
    records_among,
)
from shared.dns.resolver import LookupFailedError, NoSuchDomainError, Resolver

#: RFC 7208 §4.6.4: terms that ask, answers that are empty, and names in one answer. And §4.6.4: at least 20 s.
MAX_TERMS = 10
MAX_VOID_LOOKUPS = 2
MAX_NAMES = 10
EVALUATION_SECONDS = 20.0


async def check_host(resolver: Resolver, question: Question, domain: str) -> SpfResult:
    """What `domain` (A-labels) says of the question's client; never raises for what the DNS does."""
    if "." not in domain.strip("."):
        return SpfResult.NONE
    try:
        async with asyncio.timeout(EVALUATION_SECONDS):
            return await _Evaluation(resolver, question).result_of(domain)
    except InvalidRecord:
        return SpfResult.PERMERROR
    except (LookupFailedError, TimeoutError):
        return SpfResult.TEMPERROR


@dataclass(slots=True)
class _Evaluation:
    resolver: Resolver
    question: Question
    terms: int = 0
    void_lookups: int = 0

    async def result_of(self, domain: str) -> SpfResult:
        record = await self._record(domain)
        if record is None:
            return SpfResult.NONE
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                return mechanism.result
        if not record.redirect:
            return SpfResult.NEUTRAL
        self._count_term()
        result = await self.result_of(expand(record.redirect, self.question, domain))
        if result is SpfResult.NONE:
            raise InvalidRecord("redirect to a domain without a record")
        return result

    async def _record(self, domain: str) -> SpfRecord | None:
        try:
            found = records_among(await self.resolver.txt(domain))
        except NoSuchDomainError:
            return None
        if len(found) > 1:
            raise InvalidRecord("several records")
        return read_record(found[0]) if found else None

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        if mechanism.name == "all":
            return True
        if mechanism.network is not None:
            return mechanism.network.version == self.question.client.version and (
                self.question.client in mechanism.network
            )
        self._count_term()
        name = expand(mechanism.domain, self.question, domain) if mechanism.domain else domain
        if mechanism.name == "include":
            return await self._includes(name)
        if mechanism.name == "a":
            return self._is_among(await self._addresses(name), mechanism)
        if mechanism.name == "mx":
            return await self._is_mail_host(name, mechanism)
        if mechanism.name == "exists":
            return bool(await self._addresses(name, "A"))
        return await self._is_named(name)

    async def _includes(self, name: str) -> bool:
        result = await self.result_of(name)
        if result is SpfResult.NONE:
            raise InvalidRecord("include of a domain without a record")
        return result is SpfResult.PASS

    async def _is_mail_host(self, name: str, mechanism: Mechanism) -> bool:
        try:
            records = await self.resolver.mx(name)
        except NoSuchDomainError:
            records = ()
        self._count_void(is_void=not records)
        if len(records) > MAX_NAMES:
            raise InvalidRecord("too many mail exchangers")
        for record in sorted(records, key=lambda record: record.preference):
            if record.host and self._is_among(await self._addresses(record.host, counts=False), mechanism):
                return True
        return False

    async def _is_named(self, name: str) -> bool:
        """The client's name is below `name`, and that name's address is the client's (§5.5)."""
        try:
            names = await self.resolver.names(self.question.client.reverse_pointer, "PTR")
        except (NoSuchDomainError, LookupFailedError):
            names = ()
        self._count_void(is_void=not names)
        below = f".{name.lower()}"
        for host in names[:MAX_NAMES]:
            if not f".{host.lower()}".endswith(below):
                continue
            try:
                if str(self.question.client) in await self._addresses(host, counts=False):
                    return True
            except LookupFailedError:
                continue
        return False

    async def _addresses(self, name: str, family: str = "", *, counts: bool = True) -> tuple[str, ...]:
        family = family or ("A" if self.question.client.version == 4 else "AAAA")
        try:
            found = await self.resolver.addresses(name, family)
        except NoSuchDomainError:
            found = ()
        if counts:
            self._count_void(is_void=not found)
        return found

    def _is_among(self, addresses: tuple[str, ...], mechanism: Mechanism) -> bool:
        client = self.question.client
        bits = mechanism.ipv4_bits if client.version == 4 else mechanism.ipv6_bits
        return any(client in ipaddress.ip_network(f"{address}/{bits}", strict=False) for address in addresses)

    def _count_term(self) -> None:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise InvalidRecord("too many terms that ask the DNS")

    def _count_void(self, *, is_void: bool) -> None:
        self.void_lookups += is_void
        if self.void_lookups > MAX_VOID_LOOKUPS:
            raise InvalidRecord("too many names that do not exist")
