"""Which records this cluster needs, from what is known of its hosts, its domains and its keys."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.core.dns.record import (
    MAX_NAME_CHARACTERS,
    PlannedRecord,
    Purpose,
    RecordType,
    address_type,
    reverse_name,
)

#: What is changed in a hurry, when a host goes away or comes.
HOST_TTL_SECONDS = 300
#: What is changed with days of notice.
POLICY_TTL_SECONDS = 3600

CACHING = (
    "Whoever asked for a record uses the answer for as long as its TTL says, and that there is none for as long as the"
    " zone's SOA says (RFC 2308): a change is seen everywhere only after the longer of the two. Hosts and MX have"
    " 300 seconds: mail goes on to the next MX at once when a host is down, and no later than five minutes after a host"
    " was taken out of the DNS is it asked no more. Before a host moves, let both addresses answer for one TTL."
)


@dataclass(frozen=True, slots=True)
class PublicHost:
    """A public name and what is reached, or sends, under it: one node, several, or a balancer before them."""

    name: str
    #: IPv4 and IPv6.
    addresses: tuple[str, ...]
    #: With it the host takes list mail; the lowest is tried first.
    mx_preference: int | None
    is_tracking: bool
    is_sending: bool


@dataclass(frozen=True, slots=True)
class SigningRecord:
    """The record of a key that signs a domain's mail, or shall, or did so lately."""

    domain: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    records: tuple[PlannedRecord, ...]
    #: What is not planned since it is not known, one sentence each.
    gaps: tuple[str, ...]


def plan(hosts: Sequence[PublicHost], domains: Sequence[str], keys: Sequence[SigningRecord]) -> Plan:
    """The records of all hosts, and of each domain of lists."""
    keys_of = defaultdict(list)
    for key in keys:
        keys_of[key.domain].append(key)
    made = [record for host in hosts for record in _of_host(host)]
    made += _reverse_names(hosts)
    for domain in domains:
        made += _of_domain(domain, hosts, keys_of[domain])
    fitting = tuple(record for record in made if len(record.name) <= MAX_NAME_CHARACTERS)
    too_long = [f"The name {r.name} is too long for the DNS." for r in made if len(r.name) > MAX_NAME_CHARACTERS]
    return Plan(fitting, (*_gaps(hosts, domains, keys), *too_long))


def within(whole: Plan, zone: str) -> tuple[PlannedRecord, ...]:
    """The records at this name and below it."""
    return tuple(record for record in whole.records if record.name == zone or record.name.endswith(f".{zone}"))


def sender_policy(addresses: Sequence[str], *, ending: str) -> str:
    """An SPF record that lets mail come from these addresses."""
    terms = []
    for family, version in (("ip4", 4), ("ip6", 6)):
        of_family = [network for network in map(ipaddress.ip_network, addresses) if network.version == version]
        for network in ipaddress.collapse_addresses(of_family):  # type: ignore[type-var]
            one = network.prefixlen == network.max_prefixlen
            terms.append(f"{family}:{network.network_address if one else network}")
    return " ".join(["v=spf1", *terms, ending])


def _of_host(host: PublicHost) -> Iterator[PlannedRecord]:
    for address in host.addresses:
        yield PlannedRecord(host.name, address_type(address), address, HOST_TTL_SECONDS, Purpose.ADDRESS)
    if host.is_sending:
        # For the name in EHLO, which is judged where the return path is empty (RFC 7208 §2.3).
        yield _policy(host.name, sender_policy(host.addresses, ending="-all"), Purpose.SENDER_POLICY)


def _reverse_names(hosts: Sequence[PublicHost]) -> Iterator[PlannedRecord]:
    named: set[str] = set()
    for host in hosts:
        for address in host.addresses if host.is_sending else ():
            if address not in named:
                named.add(address)
                name = reverse_name(address)
                yield PlannedRecord(name, RecordType.PTR, host.name, POLICY_TTL_SECONDS, Purpose.REVERSE_NAME)


def _of_domain(domain: str, hosts: Sequence[PublicHost], keys: Sequence[SigningRecord]) -> Iterator[PlannedRecord]:
    exchangers = sorted((host.mx_preference, host.name) for host in hosts if host.mx_preference is not None)
    for preference, name in exchangers:
        value = f"{preference} {name}"
        yield PlannedRecord(domain, RecordType.MX, value, HOST_TTL_SECONDS, Purpose.MAIL_EXCHANGER)
    senders = _sending_addresses(hosts)
    # A host may be a domain of lists too, and has one such record then (RFC 7208 §3.2).
    if senders and not any(host.is_sending and host.name == domain for host in hosts):
        # Not -all: a forwarded copy would be refused before its signature was looked at.
        yield _policy(domain, sender_policy(senders, ending="~all"), Purpose.SENDER_POLICY)
    for key in keys:
        yield _policy(key.name, key.text, Purpose.SIGNING_KEY)
    reports = f"rua=mailto:postmaster@{domain}"
    yield _policy(f"_dmarc.{domain}", f"v=DMARC1; p=none; {reports}", Purpose.MESSAGE_POLICY)
    yield _policy(f"_smtp._tls.{domain}", f"v=TLSRPTv1; {reports}", Purpose.TLS_REPORTING)


def _policy(name: str, text: str, purpose: Purpose) -> PlannedRecord:
    return PlannedRecord(name, RecordType.TXT, text, POLICY_TTL_SECONDS, purpose)


def _sending_addresses(hosts: Sequence[PublicHost]) -> list[str]:
    return [address for host in hosts if host.is_sending for address in host.addresses]


def _gaps(hosts: Sequence[PublicHost], domains: Sequence[str], keys: Sequence[SigningRecord]) -> Iterator[str]:
    if not domains:
        yield "There is no list, so no domain needs records."
    if not any(host.mx_preference is not None for host in hosts):
        yield "No host takes list mail: state one with an mx_preference, or nobody can write to the lists."
    if not any(host.is_sending for host in hosts):
        yield "No host sends: state the outbound nodes' addresses with is_sending, or SPF and PTR cannot be planned."
    if not any(host.is_tracking for host in hosts):
        yield "No host serves readers: state one with is_tracking, for links and web forms."
    for domain in sorted(set(domains) - {key.domain for key in keys}):
        yield f"{domain} has no signing key: make one with POST /api/v1/dkim-keys, or its mail goes out unsigned."
    for host in hosts:
        for address in host.addresses:
            if not ipaddress.ip_address(address).is_global:
                yield f"{address} of {host.name} is no public address: only your own network reaches it."
