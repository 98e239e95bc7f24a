"""Tokens in links and addresses: each names one row for one purpose, and nobody else can make or read it.

A token is hexadecimal, since there are servers that change upper and lower case in addresses: the key's id, the number
of the row and the hour it ends in (nothing, when it lives as long as the mail it stands in), both masked, and a MAC.
The MAC binds the scheme's version, the purpose, the number and the end. A row belongs to one list and one address, so
its number binds these too. The mask is drawn from the MAC, so that a token does not even tell the number.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum

_VERSION = b"1"
_KEY_ID_OCTETS = 1
#: Rows beyond 2^48 would need another version.
NUMBER_OCTETS = 6
_HOUR_OCTETS = 3
_MAC_OCTETS = 10
#: What a token of one row holds, without and with an end.
_ROW_OCTETS = (NUMBER_OCTETS, NUMBER_OCTETS + _HOUR_OCTETS)
#: RFC 7693 §2.1: what a key of BLAKE2b may have at most.
_MAX_KEY_OCTETS = 64
#: A token is good for so much longer, since the clock of the node that reads it may be ahead.
CLOCK_SKEW_SECONDS = 300
#: The longest token, which names two numbers, in characters: whatever is longer is none.
_MAX_TOKEN_CHARACTERS = 2 * (_KEY_ID_OCTETS + 2 * NUMBER_OCTETS + _MAC_OCTETS)


class Purpose(Enum):
    """What a token is good for, and for nothing else. The value goes into its MAC."""

    #: Number of a request: whoever has it reads the mail of the request's address.
    CONFIRM = b"confirm"
    #: Number of a member: leave the list at once.
    LEAVE = b"leave"
    #: Number of a member: see and change how the list comes.
    PREFERENCES = b"preferences"
    #: Number of a held post: decide about it, once.
    MODERATE = b"moderate"
    #: Numbers of a mailing and a delivery: a copy was opened.
    OPEN = b"open"
    #: Numbers of a mailing and a delivery: a link of a copy was followed.
    CLICK = b"click"


#: What the MAC binds before the row: the purpose's name ends in a NUL, so that none begins like another.
_SIGNED = {purpose: _VERSION + purpose.value + b"\x00" for purpose in Purpose}


class Tokens:
    """Makes tokens with one key, and reads those made with it or an older one."""

    def __init__(self, secret: bytes, older_secrets: Sequence[bytes] = ()) -> None:
        self._keys = [TokenKey(each, _ROW_OCTETS) for each in (secret, *older_secrets)]

    def make(self, purpose: Purpose, number: int, *, ends_at: datetime | None = None) -> str:
        """The token for the row `number` (0 to 2^48 - 1), good until the end of the hour of `ends_at` by any clock that
        is not 5 minutes ahead, or for ever.

        The same arguments give the same token. Some two microseconds.
        """
        plain = number.to_bytes(NUMBER_OCTETS, "big")
        if ends_at is not None:
            plain += int(ends_at.timestamp() // 3600).to_bytes(_HOUR_OCTETS, "big")
        return self._keys[0].token(purpose, plain)

    def read(self, purpose: Purpose, token: str, *, now: datetime) -> int | None:
        """The number of the row; `None` when it is no token for this purpose, or its time is over."""
        octets = octets_of(token)
        for key in self._keys:
            plain = key.plain(purpose, octets)
            if plain is not None:
                return None if _is_over(plain[NUMBER_OCTETS:], now) else int.from_bytes(plain[:NUMBER_OCTETS], "big")
        return None


def octets_of(token: str) -> bytes:
    """What the digits of a token stand for; nothing when it cannot be one."""
    if len(token) > _MAX_TOKEN_CHARACTERS or not token.isascii() or not token.isalnum():
        return b""
    try:
        return bytes.fromhex(token)
    except ValueError:
        return b""


def key_of(secret: bytes) -> bytes:
    """The secret as BLAKE2b takes it."""
    return secret if len(secret) <= _MAX_KEY_OCTETS else hashlib.blake2b(secret).digest()


class TokenKey:
    """One secret, as keys of the two functions that make tokens."""

    def __init__(self, secret: bytes, plain_octets: Sequence[int]) -> None:
        """`plain_octets` are the lengths of what its tokens hold, each at most 64."""
        key = key_of(secret)
        self._id = hashlib.blake2b(digest_size=_KEY_ID_OCTETS, key=key, person=b"token key's id").digest()
        # Copied for each token: to set up a keyed hash takes longer than to use it.
        self._macs = hashlib.blake2b(digest_size=_MAC_OCTETS, key=key, person=b"token's MAC")
        self._masks = hashlib.blake2b(digest_size=max(plain_octets), key=key, person=b"token's mask")
        self._plain_octets = frozenset(plain_octets)

    def token(self, purpose: Purpose, plain: bytes) -> str:
        """The token that holds `plain`, for this purpose."""
        mac = self._mac(purpose, plain)
        return (self._id + self._masked(plain, mac) + mac).hex()

    def plain(self, purpose: Purpose, octets: bytes) -> bytes | None:
        """What a token of this key, as octets, holds for this purpose; `None` when it is none."""
        masked, mac = octets[_KEY_ID_OCTETS:-_MAC_OCTETS], octets[-_MAC_OCTETS:]
        if octets[:_KEY_ID_OCTETS] != self._id or len(masked) not in self._plain_octets:
            return None
        plain = self._masked(masked, mac)
        return plain if hmac.compare_digest(mac, self._mac(purpose, plain)) else None

    def _mac(self, purpose: Purpose, plain: bytes) -> bytes:
        mac = self._macs.copy()
        mac.update(_SIGNED[purpose])
        mac.update(plain)
        return mac.digest()

    def _masked(self, plain: bytes, mac: bytes) -> bytes:
        """`plain` made unreadable, or what was made so made plain again."""
        mask = self._masks.copy()
        mask.update(mac)
        size = len(plain)
        both = int.from_bytes(plain, "big") ^ int.from_bytes(mask.digest()[:size], "big")
        return both.to_bytes(size, "big")


def _is_over(hour: bytes, now: datetime) -> bool:
    if not hour:
        return False
    ends_at = datetime.fromtimestamp(0, UTC) + timedelta(hours=int.from_bytes(hour, "big") + 1)
    return now >= ends_at + timedelta(seconds=CLOCK_SKEW_SECONDS)
