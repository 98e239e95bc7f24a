"""Return paths that name the delivery they belong to (VERP), or the mailing, and that nobody else can make."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator

#: What every such local part begins with: that of a delivery, and that of a whole mailing.
PREFIX = "b+"
MAILING_PREFIX = "m+"

_ID_OCTETS = 8
_MAC_OCTETS = 12
_TOKEN_CHARACTERS = 2 * (_ID_OCTETS + _MAC_OCTETS)
#: As it comes back: the `+` may have become another separator, and a tag against forged bounces may stand before or
#: behind it (BATV: `prvs=TAG=LOCAL`, `prvs=LOCAL/TAG`, `btv1==TAG==LOCAL`).
_LOCAL = re.compile(
    rf"(?:[a-z0-9]{{1,8}}=(?:=?[a-z0-9]{{1,24}}=)?=?)?(?P<letter>[bm])[+=._-]?(?P<token>[0-9a-f]{{{_TOKEN_CHARACTERS}}})"
    r"(?:/[a-z0-9]{1,24})?",
    re.IGNORECASE | re.ASCII,
)
_TOKEN_IN_TEXT = re.compile(rf"\bb[+=._-]?[0-9a-f]{{{_TOKEN_CHARACTERS}}}\b", re.IGNORECASE | re.ASCII)
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

    Upper and lower case are one, and so are some other spellings: there are servers that change them.
    """
    return _named_by(PREFIX, local, secret)


def mailing_of(local: str, secret: bytes) -> int | None:
    """The mailing that a return path's local part names; `None` when it is no such return path."""
    return _named_by(MAILING_PREFIX, local, secret)


def _local(prefix: str, number: int, secret: bytes) -> str:
    identity = number.to_bytes(_ID_OCTETS, "big")
    return prefix + (identity + _mac(prefix, identity, secret)).hex()


def deliveries_named_in(text: str, secret: bytes) -> Iterator[int]:
    """The deliveries whose return paths, made with `secret`, stand somewhere in `text`, which may be anybody's."""
    for found in _TOKEN_IN_TEXT.finditer(text):
        delivery_id = delivery_of(found.group(), secret)
        if delivery_id is not None:
            yield delivery_id


def _named_by(prefix: str, local: str, secret: bytes) -> int | None:
    found = _LOCAL.fullmatch(local)
    if found is None or found.group("letter").lower() != prefix[0]:
        return None
    octets = bytes.fromhex(found.group("token"))
    identity, mac = octets[:_ID_OCTETS], octets[_ID_OCTETS:]
    if not hmac.compare_digest(mac, _mac(prefix, identity, secret)):
        return None
    return int.from_bytes(identity, "big")


def _mac(prefix: str, identity: bytes, secret: bytes) -> bytes:
    key = secret if len(secret) <= _MAX_KEY_OCTETS else hashlib.blake2b(secret).digest()
    return hashlib.blake2b(identity, digest_size=_MAC_OCTETS, key=key, person=_PURPOSES[prefix]).digest()


#: How long a return path is good for: we try for five days, who forwards it for as long again, and some for longer.
VALID_DAYS = 30
