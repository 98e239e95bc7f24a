"""Reading the SPF of a domain as a receiver does (RFC 7208), and a little further: every term is looked at."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from shared.core.dns.answers import Answers
from shared.core.dns.record import RecordType, address_type, reverse_name
from shared.core.dns.spf_macros import expanded

#: RFC 7208 §4.6.4: terms that ask the DNS, in all records together.
MAX_LOOKUPS = 10
#: Of these, such as find nothing.
MAX_VOID_LOOKUPS = 2
#: Of one record. RFC 7208 §3.4 recommends some 450; far longer ones are none that receivers read.
MAX_RECORD_CHARACTERS = 5_000
#: Names of one `mx` or `ptr`.
_MAX_NAMES = 10

_VERSION = re.compile(r"v=spf1( |$)", re.IGNORECASE)
_MECHANISM = re.compile(
    r"(?P<sign>[-+?~]?)(?P<kind>all|include|a|mx|ptr|ip4|ip6|exists)"
    r"(?::(?P<value>.+?))?(?:/(?P<length>\d{1,3}))?(?://(?P<length6>\d{1,3}))?",
    re.IGNORECASE,
)
_MODIFIER = re.compile(r"(?P<name>[a-z][a-z0-9_.-]*)=(?P<value>.*)", re.IGNORECASE)
_ASKING = {"include", "a", "mx", "ptr", "exists"}


class SpfFault(Exception):
    """Receivers take the policy for broken (permerror); the text says why, as the end of "The SPF record …"."""


@dataclass(slots=True)
class Reading:
    """What came of reading a domain's policy for one address."""

    lookups: int = 0
    void_lookups: int = 0
    #: Whether an `all` lets every address send.
    lets_everybody: bool = False
    #: Names on the way here: who comes back to one goes in a circle.
    open_names: list[str] = field(default_factory=list)


def policies(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a name's TXT records that are SPF (RFC 7208 §4.5)."""
    return tuple(text for text in texts if _VERSION.match(text))


def passes(domain: str, address: str, answers: Answers) -> tuple[bool, Reading]:
    """Whether mail of `domain` may come from `address`, and what was seen.

    Raises `SpfFault`, and what `Answers.get` raises.
    """
    reading = Reading()
    return _result(domain.lower(), address, answers, reading) == "+", reading


def _result(domain: str, address: str, answers: Answers, reading: Reading) -> str:
    """The sign of the first term that matches, `?` when none does."""
    found = policies(answers.get(domain, RecordType.TXT))
    if len(found) != 1:
        raise SpfFault(f"leads to {domain}, which has {len(found) or 'no'} SPF record{'s' if len(found) > 1 else ''}")
    if len(found[0]) > MAX_RECORD_CHARACTERS:
        raise SpfFault(f"of {domain} is longer than {MAX_RECORD_CHARACTERS:,} characters")
    if domain in reading.open_names:
        raise SpfFault(f"comes back to {domain} in a circle")
    reading.open_names.append(domain)
    result, has_all, redirect = "", False, None
    for term in found[0].split()[1:]:
        if mechanism := _MECHANISM.fullmatch(term):
            kind = mechanism["kind"].lower()
            sign = mechanism["sign"] or "+"
            has_all = has_all or kind == "all"
            reading.lets_everybody = reading.lets_everybody or (kind == "all" and sign == "+")
            _count(kind, reading)
            # Includes are read to their ends, for what they cost; other questions are spared once there is a result.
            if (not result or kind == "include") and _matches(mechanism, domain, address, answers, reading):
                result = result or sign
        elif modifier := _MODIFIER.fullmatch(term):
            redirect = modifier["value"] if modifier["name"].lower() == "redirect" else redirect
        else:
            raise SpfFault(f"of {domain} has the term {term[:80]}, which is none")
    if redirect is not None and not has_all:
        _count("include", reading)
        redirected = _result(expanded(redirect, domain, address), address, answers, reading)
        result = result or redirected
    reading.open_names.pop()
    return result or "?"


def _count(kind: str, reading: Reading) -> None:
    reading.lookups += kind in _ASKING
    if reading.lookups > MAX_LOOKUPS:
        raise SpfFault(f"asks the DNS more than {MAX_LOOKUPS} times, where receivers stop (RFC 7208 §4.6.4)")


def _matches(mechanism: re.Match[str], domain: str, address: str, answers: Answers, reading: Reading) -> bool:
    kind, value = mechanism["kind"].lower(), mechanism["value"]
    if kind == "all":
        return True
    if kind in ("ip4", "ip6"):
        return _is_within(address, value, mechanism["length"], domain)
    name = expanded(value, domain, address).rstrip(".").lower() if value else domain
    if kind == "include":
        return _result(name, address, answers, reading) == "+"
    if kind == "exists":
        return bool(_found(name, RecordType.A, answers, reading))
    if kind == "ptr":
        names = answers.get(reverse_name(address), RecordType.PTR)[:_MAX_NAMES]
        below = [host for host in names if host == name or host.endswith(f".{name}")]
        return any(address in answers.get(host, address_type(address)) for host in below)
    family = address_type(address)
    length = mechanism["length"] if family is RecordType.A else mechanism["length6"]
    if kind == "mx":
        exchangers = [mx.partition(" ")[2] for mx in _found(name, RecordType.MX, answers, reading)][:_MAX_NAMES]
        addresses = [found for host in exchangers if host for found in answers.get(host, family)]
    else:
        addresses = list(_found(name, family, answers, reading))
    return any(_is_within(address, found, length, domain) for found in addresses)


def _found(name: str, record_type: RecordType, answers: Answers, reading: Reading) -> tuple[str, ...]:
    """What a term's own name has; too many that have nothing are a fault."""
    found = answers.get(name, record_type)
    reading.void_lookups += not found
    if reading.void_lookups > MAX_VOID_LOOKUPS:
        raise SpfFault(f"asks for more than {MAX_VOID_LOOKUPS} names that have no such record (RFC 7208 §4.6.4)")
    return found


def _is_within(address: str, network: str | None, length: str | None, domain: str) -> bool:
    try:
        there = ipaddress.ip_network(f"{network}/{length}" if length else network or "", strict=False)
    except ValueError as error:
        raise SpfFault(f"of {domain} names {network}, which is no network") from error
    return ipaddress.ip_address(address) in there
