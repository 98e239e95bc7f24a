"""Public hosts, the records that the cluster needs, and what the DNS has, as requests and answers say them."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from shared.contracts.bodies import Answer, Body, Moment, refuse
from shared.core.dns.finding import State
from shared.core.dns.record import Purpose, RecordType

MAX_ADDRESSES = 50


def _ip_address(value: Any) -> str:
    """As `str` writes it, of an address that a host may have."""
    try:
        address = ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError as error:
        raise refuse("This is an IPv4 or IPv6 address, as text, without a prefix length.") from error
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise refuse("An address with a scope, or an IPv4 address written as IPv6, cannot stand in the DNS.")
    if address.is_unspecified or address.is_multicast or address.is_link_local or str(address) == "255.255.255.255":
        raise refuse(f"{address} is the address of no host.")
    return str(address)


IpAddress = Annotated[str, PlainValidator(_ip_address), WithJsonSchema({"type": "string", "examples": ["192.0.2.10"]})]


class NewDnsHost(Body):
    """A public name: of one node, of several that share it, or of a load balancer before them."""

    addresses: Annotated[list[IpAddress], Field(min_length=1, max_length=MAX_ADDRESSES)]
    """The IPv4 and IPv6 addresses under which the Internet knows it: 1 to 50, each once."""
    mx_preference: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """With it the host takes list mail, and this is its preference in the MX records of all domains of lists: 0 to
    65,535. The lowest is tried first; equal ones share the mail. Null or absent: it takes none."""
    is_tracking: bool = False
    """Whether readers' links and web forms lead to it."""
    is_sending: bool = False
    """Whether the cluster's mail leaves from its addresses: SPF allows them, and each gets a PTR record with this name.
    It is the name that the nodes there give in EHLO (`LISTFLEET_HOSTNAME`)."""

    @model_validator(mode="after")
    def _is_of_use(self) -> Self:
        if len(set(self.addresses)) < len(self.addresses):
            raise refuse("An address stands here twice.")
        if self.mx_preference is None and not self.is_tracking and not self.is_sending:
            raise refuse("A host takes mail (mx_preference), serves readers (is_tracking) or sends (is_sending).")
        return self


class DnsHostAnswer(Answer):
    """A public name of the cluster."""

    host: str
    """The name, in lower case and ASCII."""
    addresses: list[str]
    """Its IPv4 and IPv6 addresses."""
    mx_preference: int | None
    """Its preference in MX records; null when it takes no mail."""
    is_tracking: bool
    """Whether readers' links and web forms lead to it."""
    is_sending: bool
    """Whether the cluster's mail leaves from its addresses."""
    updated_at: Moment
    """When this was stated."""


class PlannedRecordAnswer(Answer):
    """One record that is to stand in the DNS."""

    name: str
    """The record's name, without the dot at its end."""
    type: RecordType
    """A, AAAA, MX, TXT or PTR."""
    value: str
    """An address; preference and host of an MX; a name; or a text, which most hosts of DNS take whole."""
    ttl_seconds: int
    """For how many seconds others may use an answer without asking again."""
    purpose: Purpose
    """What it is for: address, mail_exchanger (MX), sender_policy (SPF), signing_key (DKIM), message_policy (DMARC),
    tls_reporting (TLSRPT) or reverse_name (PTR)."""
    zone_line: str
    """The same as a line of a zone file, a text in strings of at most 255 octets."""


class DnsPlanAnswer(Answer):
    """The records that this cluster needs."""

    records: list[PlannedRecordAnswer]
    """By host, then by domain of lists. PTR records belong to whoever owns the addresses, mostly the provider."""
    gaps: list[str]
    """What cannot be planned yet, and why, one sentence each."""
    caching: str
    """How long a change takes to be seen."""


class FindingAnswer(Answer):
    """How one record stands in the DNS."""

    name: str
    """The record's name, without the dot at its end."""
    type: RecordType
    """A, AAAA, MX, TXT or PTR."""
    purpose: Purpose | None
    """What the planned record is for; null for one that should not be there."""
    expected: str | None
    """The planned value; null for a record that should not be there."""
    state: State
    """Right: it is there, or something that means the same or is stricter. Missing: there is none. Wrong: there is
    something else. Unknown: the DNS did not answer."""
    found: list[str]
    """What is there, as far as it was looked at."""
    mend: str | None
    """What to do, in one sentence; null when it is right."""


class DnsCheckAnswer(Answer):
    """What the DNS has of what the cluster needs."""

    is_right: bool
    """Whether records are planned, and every one is right."""
    counts: dict[State, int]
    """How many records stand how."""
    findings: list[FindingAnswer]
    """Each planned record, and each that should not be there; by purpose and name."""
    gaps: list[str]
    """What cannot be planned yet, and therefore was not checked."""
