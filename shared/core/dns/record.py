"""Records that this cluster needs in the DNS, and how they are written in a zone file (RFC 1035 §5)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

#: One string of a TXT record (RFC 1035 §3.3).
_STRING_OCTETS = 255
#: A name in text, without the root's dot; 255 octets on the wire.
MAX_NAME_CHARACTERS = 253


class RecordType(StrEnum):
    """The types that a plan has, and CNAME, which only a check asks for."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    MX = "MX"
    PTR = "PTR"
    TXT = "TXT"


class Purpose(StrEnum):
    """What a record is for."""

    #: A host's addresses.
    ADDRESS = "address"
    #: Where a domain of lists takes its mail.
    MAIL_EXCHANGER = "mail_exchanger"
    #: From where a domain's mail comes (SPF, RFC 7208).
    SENDER_POLICY = "sender_policy"
    #: With what a domain's mail is signed (DKIM, RFC 6376).
    SIGNING_KEY = "signing_key"
    #: What becomes of mail that only claims to be a domain's (DMARC, RFC 9989).
    MESSAGE_POLICY = "message_policy"
    #: Where servers report that they could not send to a domain over TLS (RFC 8460).
    TLS_REPORTING = "tls_reporting"
    #: The name of an address that mail is sent from.
    REVERSE_NAME = "reverse_name"


@dataclass(frozen=True, slots=True)
class PlannedRecord:
    """One record. Names, also in `value`, are in lower-case A-labels without the root's dot."""

    name: str
    type: RecordType
    #: An address; `10 mx.example.com`; a name; or a text, whole.
    value: str
    ttl_seconds: int
    purpose: Purpose

    @property
    def zone_line(self) -> str:
        """The record as a line of a zone file."""
        return f"{self.name}. {self.ttl_seconds} IN {self.type} {self._data}"

    @property
    def _data(self) -> str:
        if self.type is RecordType.TXT:
            return text_data(self.value)
        return self.value if self.type in (RecordType.A, RecordType.AAAA) else f"{self.value}."


def text_data(text: str) -> str:
    """A text as the data of a TXT record, in strings of at most 255 octets; `text` in ASCII."""
    strings = [text[at : at + _STRING_OCTETS] for at in range(0, len(text), _STRING_OCTETS)]
    quoted = " ".join('"' + string.replace("\\", "\\\\").replace('"', '\\"') + '"' for string in strings)
    return f"( {quoted} )"


def reverse_name(address: str) -> str:
    """Where the PTR record of an address is (RFC 1035 §3.5, RFC 3596 §2.5)."""
    return ipaddress.ip_address(address).reverse_pointer


def address_type(address: str) -> RecordType:
    """A for IPv4, AAAA for IPv6."""
    return RecordType.AAAA if ":" in address else RecordType.A
