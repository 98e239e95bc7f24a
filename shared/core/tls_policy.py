"""Whether mail to a domain may go out unencrypted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class TlsPolicy(StrEnum):
    """What is demanded of a connection."""

    #: Encrypted where STARTTLS is offered, with whatever certificate; else in the clear (RFC 7435).
    OPPORTUNISTIC = "opportunistic"
    #: Encrypted, with a certificate that is valid for the host's name; else not at all.
    REQUIRED = "required"


def policy_for(domain: str, policies: Mapping[str, TlsPolicy]) -> TlsPolicy:
    """The policy of `domain` (A-labels): its own, that of the nearest `*.parent`, that of `*`, or opportunistic."""
    if not policies:
        return TlsPolicy.OPPORTUNISTIC
    if domain in policies:
        return policies[domain]
    parent = domain
    while parent:
        _, _, parent = parent.partition(".")
        pattern = f"*.{parent}" if parent else "*"
        if pattern in policies:
            return policies[pattern]
    return TlsPolicy.OPPORTUNISTIC
