"""Return paths that name the delivery they belong to (VERP), and that nobody else can make."""

from __future__ import annotations

import base64
import binascii
import hmac

#: What every such local part begins with.
PREFIX = "b+"

_ID_OCTETS = 8
# 96 bits: with the id exactly 20 octets, which base32 writes as 32 characters without padding or spare bits.
_MAC_OCTETS = 12
_TOKEN_CHARACTERS = 32
_PURPOSE = b"bounce\x00"


def return_path_local(delivery_id: int, secret: bytes) -> str:
    """The local part, 34 octets, of the return path of `delivery_id` (1 to 2^63 - 1); the same for every attempt."""
    identity = delivery_id.to_bytes(_ID_OCTETS, "big", signed=True)
    return PREFIX + base64.b32encode(identity + _mac(identity, secret)).decode("ascii").lower()


def delivery_of(local: str, secret: bytes) -> int | None:
    """The delivery that a return path's local part names; `None` when it is no return path made with `secret`.

    Upper and lower case are one: there are servers that change it.
    """
    prefix, token = local[: len(PREFIX)], local[len(PREFIX) :]
    if prefix.lower() != PREFIX or len(token) != _TOKEN_CHARACTERS or not token.isascii():
        return None
    try:
        octets = base64.b32decode(token.upper())
    except binascii.Error:
        return None
    identity, mac = octets[:_ID_OCTETS], octets[_ID_OCTETS:]
    if not hmac.compare_digest(mac, _mac(identity, secret)):
        return None
    return int.from_bytes(identity, "big", signed=True)


def _mac(identity: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + identity, "sha256")[:_MAC_OCTETS]
