"""The parts of a message that may be a report: a bounded list, found without the `email` package.

What is inside of a message/* part is not looked into: it is somebody else's message, also when that one was a report.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from dataclasses import dataclass

from shared.mail.headers import Bounds, Header, scan
from shared.mail.lines import with_crlf
from shared.mail.parts import BOUNDARY, CHARSET, essence_of, parameter, spans_of, unfolded
from shared.mail.words import codec_of

#: A report says what it has to say at its beginning; what it returns may be as large as mail can be.
MAX_READ_BYTES = 512 * 1024
MAX_PARTS = 40
MAX_DEPTH = 4
#: Of one text.
MAX_TEXT_BYTES = 64 * 1024

_BOUNDS = Bounds(header_bytes=256 * 1024, field_bytes=64 * 1024, fields=500)
_TAG_OF_A_LINE = re.compile(
    r"<(?:br|/?p|/?div|/?tr|/?li|/?h\d|table|hr|/?pre|/?td|dt|dd)\b[^<>]{0,500}>", re.IGNORECASE
)
#: Addresses in angle brackets, unescaped, would be tags; no tag has an @ before its first space.
_TAG = re.compile(r"<[/a-z!][^<>@\s]*(?:\s[^<>]{0,2000})?>", re.IGNORECASE)
#: What HTML does not show.
_HIDDEN = (("<!--", "-->"), ("<head>", "</head>"), ("<style", "</style"), ("<script", "</script"))


@dataclass(frozen=True, slots=True)
class Part:
    """A leaf, or a message/* part whole."""

    #: `type/subtype`, lower-case.
    essence: str
    content_type: str
    header: Header
    #: As it was transferred.
    body: bytes

    @property
    def octets(self) -> bytes:
        """The body with its transfer encoding undone, at most `MAX_TEXT_BYTES` of it; what cannot be undone stays."""
        encoding = unfolded(self.header, "content-transfer-encoding").lower()
        body = self.body[: 2 * MAX_TEXT_BYTES]
        if encoding == "base64":
            compact = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
            try:
                body = base64.b64decode(compact[: len(compact) // 4 * 4])
            except binascii.Error:
                return body
        elif encoding == "quoted-printable":
            body = binascii.a2b_qp(body)
        return body[:MAX_TEXT_BYTES]

    @property
    def text(self) -> str:
        """The body as text, with LF line ends; of HTML its words, line by line."""
        text = _decoded(self.octets, parameter(CHARSET, self.content_type)).replace("\r\n", "\n").replace("\r", "\n")
        return _words_of_html(text) if self.essence == "text/html" else text


def parts_of(raw: bytes) -> tuple[Header, list[Part]]:
    """The message's header and its parts in order, within the bounds; an unreadable header is an empty one."""
    raw = with_crlf(raw[:MAX_READ_BYTES])
    top = _scan(raw)
    found: list[Part] = []
    to_visit = [(0, len(raw), 0)]
    for _ in range(2 * MAX_PARTS):
        if not to_visit or len(found) == MAX_PARTS:
            break
        start, end, depth = to_visit.pop()
        header = top if depth == 0 else _scan(raw[start:end])
        body_at = min(end, start + header.body_at)
        content_type = unfolded(header, "content-type")
        essence = essence_of(content_type)
        spans: list[tuple[int, int]] = []
        if essence.startswith("multipart/") and depth < MAX_DEPTH:
            spans = list(spans_of(raw, body_at, end, parameter(BOUNDARY, content_type).rstrip(" ")))[:MAX_PARTS]
        if spans:
            to_visit += [(part_start, part_end, depth + 1) for part_start, part_end in reversed(spans)]
        else:
            # A multipart without parts is what it shows: text.
            shown = "text/plain" if essence.startswith("multipart/") else essence
            found.append(Part(shown, content_type, header, raw[body_at:end]))
    return top, found


def header_of(octets: bytes) -> Header:
    """The header at the beginning of `octets`; an unreadable one is empty."""
    return _scan(octets[: _BOUNDS.header_bytes].lstrip(b"\r\n"))


def value_of(header: Header, name: str) -> str:
    """The field's value, readable, on one line; empty when there is none."""
    field = header.first(name)
    return "" if field is None else field.text


def _scan(raw: bytes) -> Header:
    header = scan(raw, _BOUNDS)
    if not isinstance(header, Header):
        return Header((), 0)
    if not header.fields and raw.startswith(b"From "):
        # The separator line of a mailbox file.
        line_end = raw.find(b"\n") + 1
        below = scan(raw[line_end:], _BOUNDS)
        return Header(below.fields, line_end + below.body_at) if isinstance(below, Header) else Header((), 0)
    return header


def _decoded(octets: bytes, charset: str) -> str:
    codec = codec_of(charset) if charset else None
    for name in (codec, "utf-8"):
        if name is not None:
            try:
                return octets.decode(name)
            except (UnicodeDecodeError, LookupError):
                continue
    return octets.decode(codec or "utf-8", "replace")


def _words_of_html(text: str) -> str:
    for opening, closing in _HIDDEN:
        text = _without(text, opening, closing)
    return html.unescape(_TAG.sub(" ", _TAG_OF_A_LINE.sub("\n", text))).replace("\xa0", " ")


def _without(text: str, opening: str, closing: str) -> str:
    """The text without what stands between the two, which are lower-case; in one pass."""
    lowered = text.lower()
    if len(lowered) != len(text):  # there are letters that become two
        return text
    kept, at = [], 0
    while (start := lowered.find(opening, at)) >= 0 and (end := lowered.find(closing, start)) >= 0:
        kept.append(text[at:start])
        at = end + len(closing)
    return "".join(kept) + text[at:]
