"""A message's header block read from its bytes: fields, never MIME, with bounds that hold for hostile mail too.

See docs/decisions/0002-reading-mail-without-the-email-package.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.mail.words import decode_words

#: Bounds of `scan`. Real mail stays below a tenth of each.
MAX_HEADER_BYTES = 512 * 1024
MAX_FIELD_BYTES = 128 * 1024
MAX_FIELDS = 1000

# A name and its colon (RFC 5322 §2.2); the obsolete white space before the colon is allowed (§4.5).
_FIELD_START = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


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


def scan(raw: bytes) -> Header | Unreadable:
    """The header of `raw` (line ends CR LF or LF), or why it is not read. Linear, and stops at the first bound."""
    fields: list[Field] = []
    position = 0
    for name, start, end in _field_spans(raw):
        if end > MAX_HEADER_BYTES:
            return Unreadable(f"the header is longer than {MAX_HEADER_BYTES} bytes")
        if end - start > MAX_FIELD_BYTES:
            return Unreadable(f"a header field is longer than {MAX_FIELD_BYTES} bytes")
        if len(fields) == MAX_FIELDS:
            return Unreadable(f"the header has more than {MAX_FIELDS} fields")
        fields.append(Field(name, raw[start:end]))
        position = end
    return Header(tuple(fields), _body_at(raw, position))


def _field_spans(raw: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, start and end of each field, until a line that is neither a field nor goes on with one."""
    start = 0
    while start < len(raw):
        found = _FIELD_START.match(raw, start, start + 1000)
        if found is None:
            return
        end = _line_end(raw, start)
        while raw[end : end + 1] in (b" ", b"\t"):
            if end - start > MAX_FIELD_BYTES:
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
