"""Where the texts of a message are: its inline text/plain and text/html parts, found by offsets, with bounds.

Parts below multipart/signed, multipart/encrypted and message/* are not looked into: to change them is to break them.
See docs/decisions/0002-reading-mail-without-the-email-package.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.mail.headers import STORED, Field, Header, folded, scan

MAX_DEPTH = 10
MAX_PARTS = 500
#: A part's header is looked for in so many bytes from its beginning.
_HEADER_BYTES = STORED.header_bytes

_PARAMETER = r';[ \t]*{}[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"()]+))'
BOUNDARY = re.compile(_PARAMETER.format("boundary"), re.IGNORECASE)
CHARSET = re.compile(_PARAMETER.format("charset"), re.IGNORECASE)
FORMAT = re.compile(_PARAMETER.format("format"), re.IGNORECASE)
NAME = re.compile(_PARAMETER.format("name"), re.IGNORECASE)
_TEXT_TYPES = frozenset({"text/plain", "text/html"})
_SEALED_TYPES = frozenset({"multipart/signed", "multipart/encrypted"})
#: What a body's new type, encoding or length makes wrong.
_RETYPED_FIELDS = frozenset({"content-type", "content-transfer-encoding", "content-md5", "content-length", "lines"})


@dataclass(frozen=True, slots=True)
class Part:
    """The message, or a part of it. Offsets are the message's; the line end before a boundary is not in the body."""

    header: Header
    header_at: int
    body_at: int
    end: int
    #: The unfolded Content-Type; empty when there is none, which means plain text.
    content_type: str
    #: Lower-case; `7bit` when it is not said.
    transfer_encoding: str

    @property
    def essence(self) -> str:
        """`type/subtype` in lower case."""
        return essence_of(self.content_type)

    @property
    def is_html(self) -> bool:
        return self.essence == "text/html"

    @property
    def disposition(self) -> str:
        """The unfolded Content-Disposition in lower case; empty when there is none."""
        return unfolded(self.header, "content-disposition").lower()

    @property
    def charset(self) -> str:
        """As it is named; empty when it is not."""
        return parameter(CHARSET, self.content_type)


def text_parts(raw: bytes) -> list[Part]:
    """The parts in order; what is beyond the bounds is not looked at. `raw` has its lines ended by CR LF."""
    found: list[Part] = []
    to_visit = [(0, len(raw), 0)]
    for _ in range(MAX_PARTS):
        if not to_visit:
            break
        start, end, depth = to_visit.pop()
        part = part_at(raw, start, end)
        if part is None:
            continue
        if part.essence in _TEXT_TYPES and not part.disposition.startswith("attachment"):
            found.append(part)
        elif part.essence.startswith("multipart/") and part.essence not in _SEALED_TYPES and depth < MAX_DEPTH:
            spans = list(spans_of(raw, part.body_at, end, boundary_of(part)))
            to_visit += [(part_start, part_end, depth + 1) for part_start, part_end in reversed(spans)]
    return found


def part_at(raw: bytes, start: int, end: int) -> Part | None:
    """The part between two offsets; `None` when its header is beyond the bounds."""
    header = scan(raw[start : min(end, start + _HEADER_BYTES)], STORED)
    if not isinstance(header, Header):
        return None
    encoding = unfolded(header, "content-transfer-encoding").lower() or "7bit"
    return Part(header, start, start + header.body_at, end, unfolded(header, "content-type"), encoding)


def boundary_of(part: Part) -> str:
    """What delimits the parts of a multipart; empty when it is not said."""
    return parameter(BOUNDARY, part.content_type).rstrip(" ")


def children(raw: bytes, part: Part) -> list[Part] | None:
    """The parts of a multipart; `None` unless all are within the bounds, and the last is closed as it should be."""
    boundary = boundary_of(part)
    spans = list(spans_of(raw, part.body_at, part.end, boundary))
    if not spans or not raw.startswith(f"\r\n--{boundary}--".encode(), spans[-1][1], part.end):
        return None
    found = [part_at(raw, start, end) for start, end in spans]
    return None if None in found else [child for child in found if child is not None]


def retyped(part: Part, *, charset: str | None = None, transfer_encoding: str | None = None) -> list[Field]:
    """The part's fields for a body that was written anew; what is `None` is as it was."""
    fields = [field for field in part.header.fields if field.name not in _RETYPED_FIELDS]
    written = part.content_type or "text/plain"
    if charset and part.charset:
        written = CHARSET.sub(f"; charset={charset}", written, count=1)
    elif charset:
        written = f"{written.rstrip('; ')}; charset={charset}"
    if part.header_at == 0 and not part.header.first("mime-version"):
        fields.append(Field("mime-version", folded("MIME-Version", "1.0")))
    if charset or part.content_type:
        fields.append(Field("content-type", folded("Content-Type", written)))
    if transfer_encoding or part.header.first("content-transfer-encoding"):
        value = transfer_encoding or part.transfer_encoding
        fields.append(Field("content-transfer-encoding", folded("Content-Transfer-Encoding", value)))
    return fields


def parameter(pattern: re.Pattern[str], value: str) -> str:
    """The parameter's value without quotes; empty when it is not there."""
    found = pattern.search(value)
    if found is None:
        return ""
    quoted, token = found.groups()
    return re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token


def spans_of(raw: bytes, start: int, end: int, boundary: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each body part between the delimiter lines (RFC 2046 §5.1.1)."""
    if not boundary or not boundary.isascii():
        return
    delimiter = re.compile(rb"\r\n--" + re.escape(boundary.encode("ascii")) + rb"(--)?[ \t]*(?:\r\n|\Z)")
    part_at: int | None = None
    # The line end that begins a delimiter may be the one right before the body, or that of the delimiter before.
    position = max(0, start - 2)
    for _ in range(MAX_PARTS):
        found = delimiter.search(raw, position, end)
        if part_at is not None:
            yield part_at, end if found is None else max(part_at, found.start())
        if found is None or found.group(1):
            return
        part_at = found.end()
        position = part_at - 2


def unfolded(header: Header, name: str) -> str:
    """The field's value as it is written, on one line; empty when there is none."""
    field = header.first(name)
    return "" if field is None else field.value.decode("latin-1").strip()


def essence_of(content_type: str) -> str:
    """`type/subtype` in lower case; a part that says nothing is plain text (RFC 2045 §5.2)."""
    return re.split(r"[;\s(]", content_type.strip(), maxsplit=1)[0].lower() or "text/plain"
