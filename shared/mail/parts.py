"""Where the texts of a message are: its inline text/plain and text/html parts, found by offsets, with bounds.

Parts below multipart/signed, multipart/encrypted and message/* are not looked into: to change them is to break them.
See docs/decisions/0002-reading-mail-without-the-email-package.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.mail.headers import STORED, Header, scan

MAX_DEPTH = 10
MAX_PARTS = 500
#: A part's header is looked for in so many bytes from its beginning.
_HEADER_BYTES = STORED.header_bytes

_PARAMETER = r';[ \t]*{}[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"()]+))'
_BOUNDARY = re.compile(_PARAMETER.format("boundary"), re.IGNORECASE)
CHARSET = re.compile(_PARAMETER.format("charset"), re.IGNORECASE)
_TEXT_TYPES = frozenset({"text/plain", "text/html"})
_SEALED_TYPES = frozenset({"multipart/signed", "multipart/encrypted"})


@dataclass(frozen=True, slots=True)
class TextPart:
    """A part that people read. Offsets are those of the message; the line end before a boundary is not in the body."""

    header: Header
    header_at: int
    body_at: int
    end: int
    #: The unfolded Content-Type; empty when there is none, which means plain text.
    content_type: str
    #: Lower-case; `7bit` when it is not said.
    transfer_encoding: str

    @property
    def is_html(self) -> bool:
        return _essence(self.content_type) == "text/html"

    @property
    def charset(self) -> str:
        """As it is named; empty when it is not."""
        return parameter(CHARSET, self.content_type)


def text_parts(raw: bytes) -> list[TextPart]:
    """The parts in order; what is beyond the bounds is not looked at. `raw` has its lines ended by CR LF."""
    found: list[TextPart] = []
    to_visit = [(0, len(raw), 0)]
    for _ in range(MAX_PARTS):
        if not to_visit:
            break
        start, end, depth = to_visit.pop()
        header = scan(raw[start : min(end, start + _HEADER_BYTES)], STORED)
        if not isinstance(header, Header):
            continue
        body_at = start + header.body_at
        content_type = _value(header, "content-type")
        essence = _essence(content_type)
        if essence in _TEXT_TYPES and not _value(header, "content-disposition").lower().startswith("attachment"):
            encoding = _value(header, "content-transfer-encoding").lower() or "7bit"
            found.append(TextPart(header, start, body_at, end, content_type, encoding))
        elif essence.startswith("multipart/") and essence not in _SEALED_TYPES and depth < MAX_DEPTH:
            spans = list(_spans(raw, body_at, end, parameter(_BOUNDARY, content_type).rstrip(" ")))
            to_visit += [(part_start, part_end, depth + 1) for part_start, part_end in reversed(spans)]
    return found


def parameter(pattern: re.Pattern[str], value: str) -> str:
    """The parameter's value without quotes; empty when it is not there."""
    found = pattern.search(value)
    if found is None:
        return ""
    quoted, token = found.groups()
    return re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token


def _spans(raw: bytes, start: int, end: int, boundary: str) -> Iterator[tuple[int, int]]:
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


def _value(header: Header, name: str) -> str:
    field = header.first(name)
    return "" if field is None else field.value.decode("latin-1").strip()


def _essence(content_type: str) -> str:
    """`type/subtype` in lower case; a part that says nothing is plain text (RFC 2045 §5.2)."""
    return re.split(r"[;\s(]", content_type.strip(), maxsplit=1)[0].lower() or "text/plain"


def content_type_of(header: Header) -> tuple[str, str]:
    """The unfolded Content-Type, and its `type/subtype` in lower case."""
    content_type = _value(header, "content-type")
    return content_type, _essence(content_type)


def inner_spans(raw: bytes, body_at: int, end: int, content_type: str) -> list[tuple[int, int]]:
    """Begin and end of each part of a multipart whose body is between the offsets, at most `MAX_PARTS`."""
    return list(_spans(raw, body_at, end, parameter(_BOUNDARY, content_type).rstrip(" ")))
