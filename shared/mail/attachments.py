"""What a message carries beside its text: each part's type and file name, found by offsets, with bounds.

Parts of signed messages and of messages within messages are looked at too, for nothing is changed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from shared.core.posting.post import Attachment
from shared.mail.parts import MAX_DEPTH, MAX_PARTS, Part, boundary_of, part_at, spans_of
from shared.mail.words import decode_words

_NAME = re.compile(
    r';[ \t]*(?:file)?name(\*\d{1,3})?(\*)?[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE
)
_QUOTED_PAIR = re.compile(r"\\(.)")
#: A message in one part, and the text of one in several.
_TEXT_TYPES = frozenset({"text/plain", "text/html"})
_MAX_NAME_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Found:
    """The attachments, in no order."""

    attachments: tuple[Attachment, ...]
    #: The bounds were reached before the end.
    has_more: bool


def find_attachments(raw: bytes) -> Found:
    """What `raw` (lines ended by CR LF) carries. Linear in its size, times the depth that is looked at."""
    found: list[Attachment] = []
    to_visit = [(0, len(raw), 0)]
    visited, has_more = 0, False
    while to_visit and visited < MAX_PARTS:
        visited += 1
        start, end, depth = to_visit.pop()
        part = part_at(raw, start, end)
        if part is None:
            has_more = True
            continue
        kind = part.essence
        if kind.startswith("multipart/"):
            inner = list(spans_of(raw, part.body_at, part.end, boundary_of(part)))
        elif kind in ("message/rfc822", "message/global"):
            inner = [(part.body_at, part.end)]
        else:
            inner = []
            disposition = part.header.first("content-disposition")
            names = _file_names(f"{disposition.text if disposition else ''};{part.content_type}")
            if not names and kind not in _TEXT_TYPES:
                names = [""]
            found += [Attachment(kind, name) for name in names]
        # Parts within an encoding stand where RFC 2045 §6.4 allows none, and are not found.
        is_veiled = bool(inner) and part.transfer_encoding in ("base64", "quoted-printable")
        if is_veiled or (inner and depth >= MAX_DEPTH) or len(inner) >= MAX_PARTS - 1:
            has_more = True
        else:
            to_visit += [(part_start, part_end, depth + 1) for part_start, part_end in inner]
    return Found(tuple(found), has_more or bool(to_visit))


def file_name(part: Part) -> str:
    """What the part's file is called, for a reader; empty when it has no name."""
    disposition = part.header.first("content-disposition")
    names = _names(f"{disposition.text if disposition else ''};{part.content_type}")
    return next((name for name in names if name), "")


def _file_names(parameters: str) -> list[str]:
    """The names that the parameters give, lower-case and without what Windows leaves out at their ends."""
    # Windows opens `evil.exe. ` as `evil.exe`.
    clean = (name.lower().rstrip(". ") for name in _names(parameters))
    return [name for name in clean if name]


def _names(parameters: str) -> list[str]:
    """The names that the parameters give: plain, in encoded words, or by RFC 2231, in pieces or not.

    Programs differ in which of several they take, so each counts.
    """
    names: list[str] = []
    pieces: list[str] = []
    for found in _NAME.finditer(parameters):
        number, is_extended, quoted, token = found.groups()
        value = _QUOTED_PAIR.sub(r"\1", quoted) if quoted is not None else token
        if is_extended:
            # Character set and language stand before the first piece.
            value = unquote_to_bytes(value.rpartition("'")[2]).decode("utf-8", "replace")
        (names if number is None else pieces).append(value)
    return [decode_words(name)[-_MAX_NAME_CHARACTERS:] for name in (*names, "".join(pieces))]
