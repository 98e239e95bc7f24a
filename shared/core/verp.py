"""Return paths that name the delivery they belong to (VERP), or the mailing, and that nobody else can make."""

from __future__ import annotations

import hashlib
import hmac

#: What every such local part begins with: that of a delivery, and that of a whole mailing.
PREFIX = "b+"
MAILING_PREFIX = "m+"

_ID_OCTETS = 8
_MAC_OCTETS = 12
_TOKEN_CHARACTERS = 2 * (_ID_OCTETS + _MAC_OCTETS)
_PURPOSES = {PREFIX: b"return path", MAILING_PREFIX: b"mailing's path"}
#: RFC 7693 §2.1: what a key of BLAKE2b may have at most.
_MAX_KEY_OCTETS = 64


def return_path_local(delivery_id: int, secret: bytes) -> str:
    """The local part, 42 octets, of the return path of `delivery_id` (1 to 2^63 - 1); the same for every attempt."""
    return _local(PREFIX, delivery_id, secret)


def mailing_return_path_local(mailing_id: int, secret: bytes) -> str:
    """The local part, 42 octets, of the one return path of a mailing whose deliveries have none of their own."""
    return _local(MAILING_PREFIX, mailing_id, secret)


def delivery_of(local: str, secret: bytes) -> int | None:
    """The delivery that a return path's local part names; `None` when it is no return path made with `secret`.

    Upper and lower case are one: there are servers that change it.
    """
    return _named_by(PREFIX, local, secret)


def mailing_of(local: str, secret: bytes) -> int | None:
    """The mailing that a return path's local part names; `None` when it is no such return path."""
    return _named_by(MAILING_PREFIX, local, secret)


def _local(prefix: str, number: int, secret: bytes) -> str:
    identity = number.to_bytes(_ID_OCTETS, "big")
    return prefix + (identity + _mac(prefix, identity, secret)).hex()


def _named_by(prefix: str, local: str, secret: bytes) -> int | None:
    token = local[len(prefix) :]
    if local[: len(prefix)].lower() != prefix or len(token) != _TOKEN_CHARACTERS or not token.isalnum():
        return None
    try:
        octets = bytes.fromhex(token)
    except ValueError:
        return None
    identity, mac = octets[:_ID_OCTETS], octets[_ID_OCTETS:]
    if not hmac.compare_digest(mac, _mac(prefix, identity, secret)):
        return None
    return int.from_bytes(identity, "big")


def _mac(prefix: str, identity: bytes, secret: bytes) -> bytes:
    key = secret if len(secret) <= _MAX_KEY_OCTETS else hashlib.blake2b(secret).digest()
    return hashlib.blake2b(identity, digest_size=_MAC_OCTETS, key=key, person=_PURPOSES[prefix]).digest()
