"""A message's header block read from its bytes: fields, never MIME, with bounds that hold for hostile mail too.

See docs/decisions/0002-reading-mail-without-the-email-package.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.mail.words import clean, decode_words

# A name and its colon (RFC 5322 §2.2); the obsolete white space before the colon is allowed (§4.5).
_FIELD_START = re.compile(rb"([!-9;-~]+)[ \t]*:")
#: RFC 5322 §2.1.1.
_FOLD_AT = 78
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a header is read."""

    header_bytes: int
    field_bytes: int
    fields: int


#: For mail that comes in. Real mail stays below a tenth of each.
INCOMING = Bounds(header_bytes=512 * 1024, field_bytes=128 * 1024, fields=1000)
#: For mail that was let in, and got fields of ours since.
STORED = Bounds(header_bytes=1024 * 1024, field_bytes=256 * 1024, fields=2000)


@dataclass(frozen=True, slots=True)
class Field:
    """One header field."""

    #: Lower-case.
    name: str
    #: All its bytes: name, colon, value, foldings and the last line's end.
    raw: bytes

    @property
    def value(self) -> bytes:
        """The unfolded value."""
        return _FOLD.sub(b"", self.raw.partition(b":")[2]).strip()

    @property
    def text(self) -> str:
        """The value for a reader: encoded words decoded, no control character, on one line."""
        return decode_words(self.value.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a message, in order, and where its body begins."""

    fields: tuple[Field, ...]
    #: The offset of the body's first byte; the empty line before it is not part of the body.
    body_at: int

    def all(self, name: str) -> list[Field]:
        """The fields called `name` (lower-case)."""
        return [field for field in self.fields if field.name == name]

    def first(self, name: str) -> Field | None:
        """The first field called `name` (lower-case)."""
        return next((field for field in self.fields if field.name == name), None)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The header block is beyond the bounds."""

    because: str


def scan(raw: bytes, bounds: Bounds = INCOMING) -> Header | Unreadable:
    """The header of `raw` (line ends CR LF or LF), or why it is not read. Linear, and stops at the first bound."""
    fields: list[Field] = []
    position = 0
    for name, start, end in _field_spans(raw, bounds.field_bytes):
        if end > bounds.header_bytes:
            return Unreadable(f"the header is longer than {bounds.header_bytes} bytes")
        if end - start > bounds.field_bytes:
            return Unreadable(f"a header field is longer than {bounds.field_bytes} bytes")
        if len(fields) == bounds.fields:
            return Unreadable(f"the header has more than {bounds.fields} fields")
        fields.append(Field(name, raw[start:end]))
        position = end
    return Header(tuple(fields), _body_at(raw, position))


def folded(name: str, value: str) -> bytes:
    """One field, folded at its spaces. Control characters in `value` are gone, so it cannot end the field."""
    lines = [f"{name}:"]
    for word in clean(value).split():
        if len(lines[-1]) + 1 + len(word) <= _FOLD_AT:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    return "\r\n".join([*lines, ""]).encode("ascii", "replace")


def _field_spans(raw: bytes, max_field_bytes: int) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of each field, until a line that is neither a field nor goes on with one."""
    start = 0
    while start < len(raw):
        found = _FIELD_START.match(raw, start, start + 1000)
        if found is None:
            return
        end = _line_end(raw, start)
        while raw[end : end + 1] in (b" ", b"\t"):
            if end - start > max_field_bytes:
                break
            end = _line_end(raw, end)
        yield found.group(1).decode("ascii").lower(), start, end
        start = end


def _line_end(raw: bytes, start: int) -> int:
    newline = raw.find(b"\n", start)
    return len(raw) if newline < 0 else newline + 1


def _body_at(raw: bytes, position: int) -> int:
    """Behind the empty line at `position`; at `position` itself when the empty line was left out."""
    for empty_line in (b"\r\n", b"\n"):
        if raw.startswith(empty_line, position):
            return position + len(empty_line)
    return position


def has_utf8_header(content: bytes) -> bool:
    """Whether the header of `content` (line ends CR LF) holds characters beyond ASCII, in UTF-8 (RFC 6532)."""
    end = content.find(b"\r\n\r\n")
    header = content[:end] if end >= 0 else content
    if header.isascii():
        return False
    try:
        header.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
