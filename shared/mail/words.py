"""Words beyond ASCII in header fields (RFC 2047): read without trust, written without surprise."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from itertools import pairwise

_ENCODED_WORD = re.compile(r"=\?([A-Za-z0-9_.:+-]{1,40})(?:\*[A-Za-z0-9-]{1,20})?\?([bBqQ])\?([^?\s]{0,2000})\?=")
_QUOTED_OCTET = re.compile(rb"=([0-9A-Fa-f]{2})")
# Control characters of C0 and C1, and the two separators that Unicode counts as line ends.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PLAIN_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
# Only names of this form are looked up: Python's codecs include some that are no character sets and slow on hostile
# input, and its lookup keeps every unknown name for ever.
_CHARACTER_SET = re.compile(
    r"utf-?(8|16|32)|(us-)?ascii|latin-?\d|iso-?8859-\d\d?|windows-\d{3,4}|cp-?\d{3,4}|koi8-[rut]|big5(-hkscs)?|gb2312|gbk"
    r"|gb18030|hz-gb-2312|euc-(jp|kr|tw|cn)|shift-jis|sjis|iso-2022-(jp|kr)(-\d)?|ks-c-5601-1987|tis-620|macintosh"
)
# "=?utf-8?b?" and "?=" leave 63 of the 75 characters (RFC 2047 §2): 15 groups of three octets.
_OCTETS_A_WORD = 45
#: What cannot be folded must fit into a line.
_LONGEST_PLAIN_WORD = 200


def clean(text: str) -> str:
    """`text` on one line: each run of control characters and line separators has become one space."""
    return _CONTROLS.sub(" ", text).strip()


def decode_words(text: str) -> str:
    """`text` with its encoded words decoded, clean whatever they hide; a word that cannot be decoded stays as it is."""
    words = list(_ENCODED_WORD.finditer(text))
    if not words:
        return clean(text)
    parts = [text[: words[0].start()], _decoded(words[0])]
    for before, word in pairwise(words):
        gap = text[before.end() : word.start()]
        # White space between two encoded words is not shown (RFC 2047 §6.2).
        parts.append("" if gap.isspace() else gap)
        parts.append(_decoded(word))
    parts.append(text[words[-1].end() :])
    return clean("".join(parts))


def encode_phrase(text: str) -> str:
    """`text` as a display name (`phrase`, RFC 5322 §3.2.5): ASCII, on one line that may be folded at its spaces."""
    text = clean(text)
    if text.isascii():
        if _PLAIN_PHRASE.fullmatch(text) and "=?" not in text:
            return text
        if len(text) <= 200 and "=?" not in text:
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return encoded_words(text)


def encode_text(text: str) -> str:
    """`text` as the value of a field without structure (RFC 2047 §5 (1)): ASCII, to be folded at its spaces."""
    text = clean(text)
    is_plain = text.isascii() and "=?" not in text and "  " not in text
    return text if is_plain and max(map(len, text.split()), default=0) <= _LONGEST_PLAIN_WORD else encoded_words(text)


def encoded_words(text: str) -> str:
    """`text` in encoded words whatever it holds; it must be clean. White space at its ends is kept."""
    return " ".join(f"=?utf-8?b?{base64.b64encode(octets).decode('ascii')}?=" for octets in _slices(text))


def _slices(text: str) -> list[bytes]:
    """The UTF-8 of `text` in slices that each hold whole characters."""
    slices, current = [], b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(current) + len(octets) > _OCTETS_A_WORD:
            slices.append(current)
            current = b""
        current += octets
    return [*slices, current]


def _decoded(word: re.Match[str]) -> str:
    charset, encoding, payload = word.groups()
    codec = codec_of(charset)
    if codec is None:
        return word.group()
    try:
        if encoding in "bB":
            octets = base64.b64decode(payload + "=" * (-len(payload) % 4))
        else:
            spaced = payload.replace("_", " ").encode("ascii", "replace")
            octets = _QUOTED_OCTET.sub(lambda found: bytes.fromhex(found.group(1).decode()), spaced)
        return octets.decode(codec, "replace")
    except (binascii.Error, ValueError):
        return word.group()


def codec_of(charset: str) -> str | None:
    """Python's name for a character set, `None` for one that is not known here."""
    if not _CHARACTER_SET.fullmatch(charset.lower().replace("_", "-")):
        return None
    try:
        return codecs.lookup(charset).name
    except LookupError:
        return None
