"""The kinds of lists that are mailed."""

from __future__ import annotations

from dataclasses import dataclass

#: Where lists live whose mail is not signed.
DOMAIN = "bench.test"
#: A domain with an RSA key of 2048 bits.
SIGNED_DOMAIN = "signed.bench.test"


@dataclass(frozen=True, slots=True)
class ListKind:
    """What lists have in common that get the same treatment; the lists are named after it."""

    name: str
    domain: str = DOMAIN
    #: Posts have merge fields, and each copy has links of its member's own: tracked ones, and one to leave by.
    personal: bool = False
    #: Each delivery has a return path of its own, and so a transaction.
    verp_enabled: bool = True


PLAIN = ListKind("plain")
PERSONAL = ListKind("personal", SIGNED_DOMAIN, personal=True)
SHARED = ListKind("shared", verp_enabled=False)
