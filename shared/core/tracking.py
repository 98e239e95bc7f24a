"""What is kept of how a list's mail is read, and the addresses that tell of it.

An address holds a recipient's token and, for a link, where it leads to, with MACs: the token's binds the purpose, the
mailing and the delivery, the target's binds the mailing and the URL. Whatever is accepted was therefore written into
that recipient's copy by us. To follow it, nothing but the key is needed. A target's MAC is made once a mailing and a
token once a recipient, however many links there are.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, urlsplit

from shared.core.tokens import NUMBER_OCTETS, Purpose, TokenKey, key_of, octets_of

CLICK_PATH = "/c/"
OPEN_PATH = "/o/"
OPEN_SUFFIX = ".gif"
#: Longer ones are not tracked: many programs cut addresses off.
MAX_TARGET_CHARACTERS = 1500
_MAX_TARGET_PART = 2100

_TARGET_MAC_OCTETS = 10
_MAX_GOOD_TARGETS = 1024
# What browsers leave out, or take for a slash.
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_WEB = re.compile(r"https?://", re.IGNORECASE)
_LEFT_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~|"


class TrackingPolicy(StrEnum):
    """What is kept of opens and clicks."""

    #: Nothing; links lead where the author says.
    OFF = "off"
    #: How many there are, and not whose.
    ANONYMOUS = "anonymous"
    #: Each with its delivery.
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose copy an address stood in."""

    mailing_id: int
    #: `None` in a mailing that is tracked anonymously.
    delivery_id: int | None


@dataclass(frozen=True, slots=True)
class Click:
    """A link that was followed."""

    reader: Reader
    #: Where the author's link leads, as `target_of` gives it.
    url: str


def target_of(url: str) -> str | None:
    """A link's address as it is put into a Location field, in ASCII; `None` when it is not one that is tracked.

    Only http and https with a plain host: what looks like one host and is another is left as it is.
    """
    url = url.strip()
    if _ODD.search(url) or not _WEB.match(url):
        return None
    url = quote(url.encode("utf-8", "replace"), safe=_LEFT_AS_IT_IS)
    if len(url) > MAX_TARGET_CHARACTERS:
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for one that is none
    except ValueError:
        return None
    return url if parts.hostname and parts.username is None and "%" not in parts.netloc else None


class TrackedLinks:
    """Makes addresses below one URL, with one key, and reads those made with it or an older one."""

    def __init__(self, secret: bytes, older_secrets: Sequence[bytes], public_url: str) -> None:
        self.public_url = public_url
        self._keys = [_Key(each) for each in (secret, *older_secrets)]

    def token(self, purpose: Purpose, reader: Reader) -> str:
        """The recipient's part of an address; the same length for all. Some two microseconds."""
        plain = _octets(reader.mailing_id) + _octets(reader.delivery_id or 0)
        return self._keys[0].tokens.token(purpose, plain)

    def target(self, mailing_id: int, url: str) -> str:
        """The part of an address that leads to `url`, which `target_of` gave; for all recipients of the mailing."""
        octets = url.encode("ascii")
        return urlsafe_b64encode(self._keys[0].target_mac(mailing_id, octets) + octets).rstrip(b"=").decode()

    def read_open(self, token: str) -> Reader | None:
        """Whose copy the address of an image names; `None` when it is none of ours."""
        octets = octets_of(token)
        return next((reader for key in self._keys if (reader := key.reader(Purpose.OPEN, octets))), None)

    def read_click(self, token: str, target: str) -> Click | None:
        """Whose copy and which link an address names; `None` when it is none of ours."""
        octets = octets_of(token)
        for key in self._keys:
            reader = key.reader(Purpose.CLICK, octets)
            url = reader and key.url(reader.mailing_id, target)
            if reader and url:
                return Click(reader, url)
        return None


class _Key:
    """One secret, as keys of recipients' tokens and of targets."""

    def __init__(self, secret: bytes) -> None:
        self.tokens = TokenKey(secret, (2 * NUMBER_OCTETS,))
        self._targets = hashlib.blake2b(digest_size=_TARGET_MAC_OCTETS, key=key_of(secret), person=b"link's target")
        #: By mailing and target: those that were found good a while ago. All recipients of a mailing have the same.
        self._good: dict[tuple[int, str], str] = {}

    def reader(self, purpose: Purpose, octets: bytes) -> Reader | None:
        """Whom a token of this key, as octets, names for this purpose; `None` when it is none."""
        plain = self.tokens.plain(purpose, octets)
        if plain is None:
            return None
        return Reader(
            int.from_bytes(plain[:NUMBER_OCTETS], "big"), int.from_bytes(plain[NUMBER_OCTETS:], "big") or None
        )

    def url(self, mailing_id: int, target: str) -> str | None:
        """Where a target of the mailing leads, when this key has signed it."""
        url = self._good.get((mailing_id, target))
        if url is None:
            url = self._checked(mailing_id, target)
            if url is not None:
                if len(self._good) >= _MAX_GOOD_TARGETS:
                    self._good.clear()
                self._good[mailing_id, target] = url
        return url

    def target_mac(self, mailing_id: int, url: bytes) -> bytes:
        mac = self._targets.copy()
        mac.update(_octets(mailing_id))
        mac.update(url)
        return mac.digest()

    def _checked(self, mailing_id: int, target: str) -> str | None:
        if len(target) > _MAX_TARGET_PART or not target.isascii():
            return None
        try:
            octets = urlsafe_b64decode(target + "=" * (-len(target) % 4))
        except binascii.Error:
            return None
        # The decoder skips what is no digit, and ignores bits behind the last.
        if urlsafe_b64encode(octets).rstrip(b"=") != target.encode():
            return None
        mac, url_octets = octets[:_TARGET_MAC_OCTETS], octets[_TARGET_MAC_OCTETS:]
        if not hmac.compare_digest(mac, self.target_mac(mailing_id, url_octets)):
            return None
        url = url_octets.decode("latin-1")
        return url if target_of(url) == url else None


def _octets(number: int) -> bytes:
    return number.to_bytes(NUMBER_OCTETS, "big")
