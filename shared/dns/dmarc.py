"""The DMARC records of a domain's walk (RFC 9989 §4.10), asked for one after the other."""

from __future__ import annotations

from typing import Protocol

from shared.core.dmarc import (
    DmarcRecord,
    PublishedPolicy,
    organizational_domain,
    policy_of,
    read_record,
    record_that_counts,
    walk,
)
from shared.core.preflight.draft import Alignment
from shared.dns.resolver import LookupFailedError, MxRecord, NoSuchDomainError


class Records(Protocol):
    """What is asked of a resolver; both raise its two errors."""

    async def txt(self, name: str) -> tuple[str, ...]: ...

    async def mx(self, domain: str) -> tuple[MxRecord, ...]: ...


async def dmarc_records(resolver: Records, domain: str) -> dict[str, DmarcRecord]:
    """By domain, those that were found; `domain` in A-labels. Raises `LookupFailedError`."""
    found: dict[str, DmarcRecord] = {}
    for name in walk(domain):
        try:
            record = read_record(await resolver.txt(f"_dmarc.{name}"))
        except NoSuchDomainError:
            continue
        if record is not None:
            found[name] = record
            if record.is_public_suffix is not None:
                break
    return found


async def published_policy(resolver: Records, domain: str) -> PublishedPolicy:
    """What the domain's owner asks for about mail that fails; `domain` in A-labels. Raises `LookupFailedError`."""
    records = await dmarc_records(resolver, domain)
    name = record_that_counts(domain, records)
    if name is None or name == domain.lower() or records[name].nonexistent_policy is None:
        return policy_of(domain, records)
    return policy_of(domain, records, domain_exists=await _exists(resolver, domain))


async def _exists(resolver: Records, domain: str) -> bool:
    try:
        await resolver.mx(domain)
    except NoSuchDomainError:
        return False
    return True


async def alignment(resolver: Records, from_domain: str, proven_domain: str) -> tuple[Alignment, PublishedPolicy]:
    """Whether SPF or DKIM for `proven_domain` is good for mail from `from_domain` (§4.10), and what is asked for about
    mail where it is not; both in A-labels. Asks nothing when they are one."""
    if from_domain == proven_domain:
        return Alignment.ALIGNED, PublishedPolicy.NONE
    try:
        records = await dmarc_records(resolver, from_domain)
        name = record_that_counts(from_domain, records)
        is_strict = name is not None and records[name].strict_dkim and records[name].strict_spf
        if not is_strict:
            others = await dmarc_records(resolver, proven_domain)
            if organizational_domain(proven_domain, others) == organizational_domain(from_domain, records):
                return Alignment.ALIGNED, PublishedPolicy.NONE
        return Alignment.UNALIGNED, await published_policy(resolver, from_domain)
    except LookupFailedError:
        return Alignment.UNKNOWN, PublishedPolicy.NONE
