"""The posting address of a list: which names a list can have."""

from __future__ import annotations

import re

from shared.core.address import Address, InvalidAddress
from shared.core.verp import MAILING_PREFIX, PREFIX

#: So that the longest of the list's other addresses still has a local part of 64 octets (RFC 5321 §4.5.3.1.1).
MAX_NAME_CHARACTERS = 50

_NAME = re.compile(r"[a-z0-9]+(?:[._+-][a-z0-9]+)*")
#: Addresses that every domain has (RFC 5321 §4.5.1, RFC 2142), and the sender of automatic mail.
_ROLES = frozenset({"postmaster", "abuse", "mailer-daemon"})
#: What a list's other addresses end with (RFC 2142 §6, RFC 2369).
_ENDINGS = ("-owner", "-request", "-bounces", "-subscribe", "-unsubscribe", "-help")


def list_address(name: str, domain: str) -> tuple[str, str]:
    """Name and domain in lower case, the domain in A-labels. Raises `InvalidAddress`."""
    lowered = name.lower()
    if len(name) > MAX_NAME_CHARACTERS:
        raise InvalidAddress(f"The name of a list has at most {MAX_NAME_CHARACTERS} characters.")
    if not _NAME.fullmatch(lowered):
        raise InvalidAddress(
            "The name of a list is made of ASCII letters and digits, with single . _ + - between them."
        )
    if lowered in _ROLES or lowered.startswith((PREFIX, MAILING_PREFIX)) or lowered.endswith(_ENDINGS):
        raise InvalidAddress(f"Mail to {lowered}@ is for something else: a list cannot be called so.")
    return lowered, Address.parse(f"{lowered}@{domain}").ascii_domain
