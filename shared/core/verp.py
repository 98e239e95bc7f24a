"""Return paths that name the delivery they belong to (VERP), and that nobody else can make."""

from __future__ import annotations

import hashlib
import hmac

#: What every such local part begins with.
PREFIX = "b+"

_ID_OCTETS = 8
_MAC_OCTETS = 12
_TOKEN_CHARACTERS = 2 * (_ID_OCTETS + _MAC_OCTETS)
_PURPOSE = b"return path"
#: RFC 7693 §2.1: what a key of BLAKE2b may have at most.
_MAX_KEY_OCTETS = 64


def return_path_local(delivery_id: int, secret: bytes) -> str:
    """The local part, 42 octets, of the return path of `delivery_id` (1 to 2^63 - 1); the same for every attempt."""
    identity = delivery_id.to_bytes(_ID_OCTETS, "big")
    return PREFIX + (identity + _mac(identity, secret)).hex()


def delivery_of(local: str, secret: bytes) -> int | None:
    """The delivery that a return path's local part names; `None` when it is no return path made with `secret`.

    Upper and lower case are one: there are servers that change it.
    """
    prefix, token = local[: len(PREFIX)], local[len(PREFIX) :]
    if prefix.lower() != PREFIX or len(token) != _TOKEN_CHARACTERS or not token.isalnum():
        return None
    try:
        octets = bytes.fromhex(token)
    except ValueError:
        return None
    identity, mac = octets[:_ID_OCTETS], octets[_ID_OCTETS:]
    if not hmac.compare_digest(mac, _mac(identity, secret)):
        return None
    return int.from_bytes(identity, "big")


def _mac(identity: bytes, secret: bytes) -> bytes:
    key = secret if len(secret) <= _MAX_KEY_OCTETS else hashlib.blake2b(secret).digest()
    return hashlib.blake2b(identity, digest_size=_MAC_OCTETS, key=key, person=_PURPOSE).digest()
