"""Keys that sign a domain's mail (DKIM, RFC 6376)."""

from __future__ import annotations

from enum import StrEnum


class DkimAlgorithm(StrEnum):
    """How a key signs: the `a=` of its signatures."""

    #: RFC 6376, RFC 8301: what every receiver verifies. Keys of 2048 bits.
    RSA_SHA256 = "rsa-sha256"
    #: RFC 8463: small and fast; made beside an RSA signature, as many receivers do not know it.
    ED25519_SHA256 = "ed25519-sha256"


class DkimKeyState(StrEnum):
    """Where a key stands."""

    #: Its record is to be put into the DNS.
    MADE = "made"
    #: Its record was found in the DNS.
    CHECKED = "checked"
    #: Mail of its domain is signed with it.
    ACTIVE = "active"
    #: Nothing is signed with it any more; mail on its way still needs its record.
    RETIRED = "retired"
