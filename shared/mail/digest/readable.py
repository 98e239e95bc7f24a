"""What a person reads of a message in a plain text, with notes in the place of everything else."""

from __future__ import annotations

import binascii
import re

from shared.mail.attachments import file_name
from shared.mail.headers import STORED, Header, scan
from shared.mail.html_text import text_of_html
from shared.mail.parts import MAX_DEPTH, MAX_PARTS, Part, boundary_of, part_at, spans_of
from shared.mail.segments import text_of
from shared.mail.words import clean, codec_of

#: Of one message; the rest is in its MIME form alone.
MAX_CHARACTERS = 500_000
#: Of one HTML, so many characters with its tags.
_READ_CHARACTERS = 4 * MAX_CHARACTERS
_MORE = "[There is more of this post, which is left out here]"

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")
_EMPTY_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*){2,}\n")
_TEXTS = frozenset({"text/plain", "text/html"})
_MESSAGES = frozenset({"message/rfc822", "message/global"})


def readable_text(raw: bytes) -> str:
    """The texts of `raw` (lines ended by CR LF) in order, HTML only where there is no plain text, without blank lines
    around them."""
    pieces: list[str] = []
    room = MAX_CHARACTERS
    to_visit = [(0, len(raw), 0)]
    visited = 0
    while to_visit and visited < MAX_PARTS and room > 0:
        visited += 1
        start, end, depth = to_visit.pop()
        part = part_at(raw, start, end)
        if part is None:
            pieces.append("[A part that cannot be read]")
            continue
        inner = _inner(raw, part) if depth < MAX_DEPTH else []
        if inner:
            to_visit += [(begin, stop, depth + 1) for begin, stop in reversed(inner)]
            continue
        text = _text(raw, part)
        pieces.append(_note(raw, part) if text is None else text[:room])
        room -= len(pieces[-1])
    if to_visit or room <= 0:
        pieces.append(_MORE)
    return "\n\n".join(piece for piece in pieces if piece) or "(no text)"


def _inner(raw: bytes, part: Part) -> list[tuple[int, int]]:
    """The parts of a multipart that are looked at; none of anything else."""
    if not part.essence.startswith("multipart/"):
        return []
    spans = list(spans_of(raw, part.body_at, part.end, boundary_of(part)))
    if part.essence != "multipart/alternative" or len(spans) < 2:
        return spans
    kinds = [found.essence if (found := part_at(raw, *span)) else "" for span in spans]
    for wanted in ("text/plain", "text/html", "multipart/"):
        for span, kind in zip(spans, kinds, strict=True):
            if kind.startswith(wanted):
                return [span]
    return spans[:1]


def _text(raw: bytes, part: Part) -> str | None:
    """The part's text; `None` for what is none, or cannot be read at all."""
    if part.essence not in _TEXTS or part.disposition.startswith("attachment") or file_name(part):
        return None
    text = text_of(raw, part)
    if text is None:
        text = _guessed(raw, part)
    if text is None:
        return None
    if len(text) > _READ_CHARACTERS:
        text = f"{text[:_READ_CHARACTERS]}\n\n{_MORE}"
    if part.is_html:
        text = text_of_html(text)
    text = _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    if part.is_html:
        text = _EMPTY_LINES.sub("\n\n", text)
    return _without_blank_lines_around(text)


def _guessed(raw: bytes, part: Part) -> str | None:
    """A text in a character set that is unknown, or not its own: what cannot be read is shown as that."""
    octets = raw[part.body_at : part.end]
    try:
        if part.transfer_encoding == "base64":
            octets = binascii.a2b_base64(octets)
        elif part.transfer_encoding == "quoted-printable":
            octets = binascii.a2b_qp(octets)
        return octets.decode(codec_of(part.charset or "utf-8") or "utf-8", "replace")
    except (binascii.Error, UnicodeError):
        return None


def _without_blank_lines_around(text: str) -> str:
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    begin = next((number for number, line in enumerate(lines) if line.strip()), 0)
    return "\n".join(lines[begin:])


def _note(raw: bytes, part: Part) -> str:
    if part.essence in _MESSAGES:
        header = scan(raw[part.body_at : part.end], STORED)
        subject = header.first("subject") if isinstance(header, Header) else None
        return f"[Attached message: {subject.text[:200] if subject else 'no subject'}]"
    octets = part.end - part.body_at
    if part.transfer_encoding == "base64":
        octets = (octets - 2 * raw.count(b"\r\n", part.body_at, part.end)) * 3 // 4
    name = clean(file_name(part))[:200]
    what = f"{clean(part.essence)[:100]}, {_size(octets)}"
    return f"[Attachment: {name} ({what})]" if name else f"[Attachment: {what}]"


def _size(octets: int) -> str:
    if octets < 1_000:
        return f"{octets} bytes"
    return f"{octets / 1_000:.0f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"
