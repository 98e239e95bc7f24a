"""What a domain publishes about mail that fails DMARC (RFC 9989): its records read, and the one that counts chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Above so many labels the walk goes on with the last of them (RFC 9989 §4.10).
_WALKED_LABELS = 7
_VERSION = re.compile(r"\s*v\s*=\s*DMARC1\s*(?:;|\Z)")


class PublishedPolicy(StrEnum):
    """What receivers are asked to do with mail that fails."""

    #: Nothing, or no record is published.
    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """One record, as far as it says what is asked for, and where an organisation begins."""

    policy: PublishedPolicy
    #: Of the domains below it, and of those below it that do not exist; `None`: the same as the one before.
    subdomain_policy: PublishedPolicy | None = None
    nonexistent_policy: PublishedPolicy | None = None
    #: `True`: a public suffix, `False`: an organisation; `None`: not said.
    is_public_suffix: bool | None = None
    #: What DKIM, or SPF, proves is good for the author's domain alone, not for the organisation's others.
    strict_dkim: bool = False
    strict_spf: bool = False


def read_record(texts: Sequence[str]) -> DmarcRecord | None:
    """The record among the TXT records of a `_dmarc` name; `None` when there is none, or more than one (§4.10).

    That a policy is being tested (`t=y`, and `pct=` of RFC 7489) makes no difference: such domains ask for special
    handling by lists all the same (§4.7).
    """
    found = [text for text in texts if _VERSION.match(text)]
    if len(found) != 1:
        return None
    tags = {
        name.strip().lower(): value.strip() for name, _, value in (tag.partition("=") for tag in found[0].split(";"))
    }
    policy = _policy(tags.get("p", PublishedPolicy.NONE))
    if policy is None:
        # A slip in the policy: only who wants reports still publishes a record, one that asks for nothing.
        return DmarcRecord(PublishedPolicy.NONE) if "mailto:" in tags.get("rua", "").lower() else None
    return DmarcRecord(
        policy,
        _policy(tags.get("sp", "")),
        _policy(tags.get("np", "")),
        {"y": True, "n": False}.get(tags.get("psd", "").lower()),
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
    )


def walk(domain: str) -> list[str]:
    """The domains whose records are asked for, one after the other, until one says `psd` (§4.10): eight at most."""
    labels = domain.lower().split(".")
    above = labels[1:][-_WALKED_LABELS:]
    return [".".join(labels), *(".".join(above[number:]) for number in range(len(above)))]


def organizational_domain(domain: str, records: Mapping[str, DmarcRecord]) -> str:
    """Which of the domain's ancestors, or itself, its organisation is, by the records of its walk (§4.10.2)."""
    names = walk(domain)
    with_record = [name for name in names if name in records]
    for name in with_record:
        if records[name].is_public_suffix is False:
            return name
        if records[name].is_public_suffix and name != names[0]:
            return names[names.index(name) - 1]
    return with_record[-1] if with_record else names[0]


def record_that_counts(domain: str, records: Mapping[str, DmarcRecord]) -> str | None:
    """Whose record says what is asked for: the domain's own, its organisation's, or its public suffix's (§4.10.1)."""
    names = walk(domain)
    organization = organizational_domain(domain, records)
    suffixes = [name for name in names if name in records and records[name].is_public_suffix]
    return next((name for name in (names[0], organization, *suffixes) if name in records), None)


def policy_of(domain: str, records: Mapping[str, DmarcRecord], *, domain_exists: bool = True) -> PublishedPolicy:
    """What is asked for about mail from `domain`, by the records of its walk."""
    name = record_that_counts(domain, records)
    if name is None:
        return PublishedPolicy.NONE
    record = records[name]
    if name == domain.lower():
        return record.policy
    below = record.policy if record.subdomain_policy is None else record.subdomain_policy
    if domain_exists or record.nonexistent_policy is None:
        return below
    return record.nonexistent_policy


def _policy(word: str) -> PublishedPolicy | None:
    try:
        return PublishedPolicy(word.lower())
    except ValueError:
        return None
