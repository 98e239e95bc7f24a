"""A list's header and footer texts around what an author wrote (docs/decisions/0020-members-copies.md).

Where people read plain text or HTML, the texts stand within it. Everything else (what is signed or encrypted, broken or
unusual) becomes one part, byte for byte, of a multipart/mixed, and the texts become parts of their own beside it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from shared.mail.headers import Field, Header, folded
from shared.mail.lines import MAX_LINE_OCTETS, ended, has_line_longer_than
from shared.mail.parts import MAX_DEPTH, NAME, Part, children, parameter, part_at
from shared.mail.text_edit import edited_text
from shared.mail.transfer_encoding import quoted_printable_octets

_TEXTS = frozenset({"text/plain", "text/html"})
#: Other forms of one text, which their readers show without ours.
_OTHER_FORMS = frozenset({"text/calendar", "text/x-amp-html", "text/watch-html", "text/enriched", "text/richtext"})
#: Of two of one of them, programs read the first or the last.
_READ_FIELDS = ("content-type", "content-transfer-encoding", "content-disposition")
#: RFC 2045 §6.4: a multipart has no other.
_IDENTITIES = frozenset({"7bit", "8bit", "binary"})
#: In pieces, to be put together again by type and order alone.
_UNTOUCHABLE = frozenset({"message/partial", "message/external-body"})
#: A longer text is put beside ours whole.
_MAX_TEXT_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Surrounded:
    """The message's fields, and its body in pieces."""

    fields: tuple[Field, ...]
    body: tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class _Places:
    """The texts before which the list's header stands, and those behind which its footer does."""

    above: tuple[Part, ...]
    below: tuple[Part, ...]


def surrounded(raw: bytes, header: Header, above: str, below: str) -> Surrounded | None:
    """The message `raw`, lines ended by CR LF, with a text before and one behind what people read of it.

    `header` is the message's, with the fields it is to keep. Either text may be empty; their lines end in line feeds.
    `None`: a message of a type that is left alone. The same arguments give the same bytes.
    """
    whole = part_at(raw, 0, len(raw))
    if whole is None or whole.essence in _UNTOUCHABLE:
        return None
    whole = replace(whole, header=header)
    places = _places(raw, whole, 0)
    within = None if places is None else _within(raw, whole, places, above, below)
    return within or _beside(raw, header, above, below)


def _places(raw: bytes, part: Part, depth: int) -> _Places | None:
    """`None` when there is no text in which ours can stand."""
    if any(len(part.header.all(name)) > 1 for name in _READ_FIELDS):
        return None
    if part.essence in _TEXTS:
        return _Places((part,), (part,)) if _is_the_authors_text(part) else None
    is_multipart = part.essence.startswith("multipart/") and part.transfer_encoding in _IDENTITIES
    if not is_multipart or depth == MAX_DEPTH:
        return None
    parts = children(raw, part)
    if not parts:
        return None
    if part.essence == "multipart/alternative":
        forms = [_places(raw, form, depth + 1) for form in parts if form.essence not in _OTHER_FORMS]
        found = [form for form in forms if form is not None]
        if not found or len(found) < len(forms):
            return None
        return _Places(tuple(p for form in found for p in form.above), tuple(p for form in found for p in form.below))
    if part.essence == "multipart/related":
        return _places(raw, parts[0], depth + 1)
    if part.essence == "multipart/mixed":
        first = _places(raw, parts[0], depth + 1)
        later = (_places(raw, other, depth + 1) for other in reversed(parts[1:]))
        last = next((places for places in later if places is not None), first)
        return None if first is None or last is None else _Places(first.above, last.below)
    return None


def _is_the_authors_text(part: Part) -> bool:
    """Not a file, though one that is shown."""
    is_file = "filename" in part.disposition or bool(parameter(NAME, part.content_type))
    is_inline = not part.disposition or part.disposition.startswith("inline")
    return is_inline and not is_file and part.end - part.body_at <= _MAX_TEXT_BYTES


def _within(raw: bytes, whole: Part, places: _Places, above: str, below: str) -> Surrounded | None:
    """The texts in their places; `None` when one of these cannot be read for sure, or must not be changed."""
    fields = whole.header.fields
    body: list[bytes | memoryview] = []
    position = whole.body_at
    shared = memoryview(raw)
    for part in sorted({part.header_at: part for part in (*places.above, *places.below)}.values(), key=_begin):
        text_above = above if part in places.above else ""
        text_below = below if part in places.below else ""
        if not text_above and not text_below:
            continue
        edited = edited_text(raw, part, text_above, text_below)
        if edited is None or _is_delimited_in(edited.body, raw, part):
            return None
        if part.header_at == 0:
            fields = edited.fields
        else:
            body += [shared[position : part.header_at], *[ended(field.raw) for field in edited.fields], b"\r\n"]
        body.append(edited.body)
        position = part.end
    return Surrounded(fields, (*body, shared[position:]))


def _begin(part: Part) -> int:
    return part.header_at


def _is_delimited_in(body: bytes, raw: bytes, part: Part) -> bool:
    """Whether the part's new body holds what delimits it from its neighbours."""
    if part.header_at == 0:
        return False
    end = raw.find(b"\r\n", part.end + 2)
    line = raw[part.end + 2 : end if end >= 0 else len(raw)]
    return line.rstrip(b" \t").removesuffix(b"--") in body


def _beside(raw: bytes, header: Header, above: str, below: str) -> Surrounded:
    """All of the author's message as one part of several, its bytes as they were."""
    own = [field for field in header.fields if field.name.startswith("content-")]
    fields = [field for field in header.fields if not field.name.startswith("content-")]
    if not header.first("mime-version"):
        fields.append(Field("mime-version", folded("MIME-Version", "1.0")))
    boundary = _boundary(raw)
    fields.append(Field("content-type", folded("Content-Type", f'multipart/mixed; boundary="{boundary}"')))
    if not raw.isascii():
        name = "Content-Transfer-Encoding"
        is_binary = any(field.value.lower() == b"binary" for field in own if field.name == name.lower())
        fields.append(Field(name.lower(), folded(name, "binary" if is_binary else "8bit")))
    delimiter = b"--%b\r\n" % boundary.encode()
    body: list[bytes | memoryview] = []
    if above:
        body += [delimiter, _text_part(above), b"\r\n"]
    body += [delimiter, *[ended(field.raw) for field in own], b"\r\n", memoryview(raw)[header.body_at :], b"\r\n"]
    if below:
        body += [delimiter, _text_part(below), b"\r\n"]
    body.append(b"--%b--\r\n" % boundary.encode())
    return Surrounded(tuple(fields), tuple(body))


def _boundary(raw: bytes) -> str:
    """A boundary that the message does not hold."""
    drawn = hashlib.sha256(raw).hexdigest()
    while f"--{drawn[:32]}".encode() in raw:
        drawn = hashlib.sha256(drawn.encode()).hexdigest()
    return drawn[:32]


def _text_part(text: str) -> bytes:
    lines = text.replace("\n", "\r\n").encode("utf-8", "replace") + b"\r\n"
    is_plain = lines.isascii() and not has_line_longer_than(MAX_LINE_OCTETS, lines)
    return (
        b"Content-Type: text/plain; charset=%b\r\nContent-Transfer-Encoding: %b\r\nContent-Disposition: inline\r\n\r\n"
        % ((b"us-ascii", b"7bit") if is_plain else (b"utf-8", b"quoted-printable"))
    ) + (lines if is_plain else quoted_printable_octets(lines))
