"""An 8-bit message for a server that takes 7 bits only (RFC 6152 §3): each part re-encoded, as itself (RFC 2045 §6)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from shared.mail.headers import STORED, Field, Unreadable, scan
from shared.mail.lines import with_crlf

#: No honest message comes near these.
MAX_DEPTH = 50
MAX_PARTS = 10_000

#: A text with more of its bytes beyond ASCII is shorter, and no less readable, in base64.
_QUOTED_PRINTABLE_UP_TO = 1 / 4

_TYPE = re.compile(rb"\s*([!-~]+?)/([!-~]+?)\s*(?:;|\s|$)")
_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^\s";]{1,200}))', re.IGNORECASE)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_ALL_BUT_ASCII = bytes(range(128, 256))
_AS_QUESTION_MARKS = bytes(range(128)) + b"?" * 128


class NotConvertible(ValueError):
    """The message is built so that nobody can re-encode it within bounds."""


@dataclass(slots=True)
class _Budget:
    parts: int = MAX_PARTS


def to_seven_bit(message: bytes) -> bytes:
    """`message` (line ends CR LF) with every body part in 7 bits; the same object when it was so. Raises
    `NotConvertible`.

    A text becomes quoted-printable or base64, whatever else base64; a part within a part, and a message within a
    message, are re-encoded in their place. What no reader shows (before the first and after the last part) loses its
    bytes beyond ASCII. Headers are left as they are: what they say beyond ASCII is SMTPUTF8's matter, not encoding's. A
    signature over a part that was 8-bit is lost (RFC 1847 §2.1 forbids such parts).
    """
    return message if message.isascii() else _entity(message, _Budget(), 0)


def _entity(raw: bytes, budget: _Budget, depth: int) -> bytes:
    """One part with its header, re-encoded."""
    budget.parts -= 1
    if depth > MAX_DEPTH or budget.parts < 0:
        raise NotConvertible("the message has too many parts within parts")
    header = scan(raw, STORED)
    if isinstance(header, Unreadable):
        raise NotConvertible(header.because)
    head, body = raw[: header.body_at], raw[header.body_at :]
    if body.isascii():
        return raw
    content_type = header.first("content-type")
    kind, subkind = _type_of(content_type)
    found = header.first("content-transfer-encoding")
    encoding = found.value.strip().lower() if found else b"7bit"
    boundary = _boundary_of(content_type) if kind == b"multipart" else None
    if boundary is not None:
        return _with_encoding(head, header.fields, b"7bit") + _parts(body, boundary, budget, depth)
    if (kind, subkind) == (b"message", b"rfc822") and encoding not in (b"base64", b"quoted-printable"):
        return _with_encoding(head, header.fields, b"7bit") + _entity(body, budget, depth + 1)
    if kind == b"multipart":  # without a boundary there are no parts, only what nobody shows
        return head + body.translate(_AS_QUESTION_MARKS)
    if encoding == b"quoted-printable":
        return head + _NOT_ASCII.sub(lambda octet: b"=%02X" % ord(octet.group()), body)
    if encoding == b"base64":
        return head + body.translate(None, _ALL_BUT_ASCII)
    is_text = kind in (b"text", b"message")
    if is_text and len(_NOT_ASCII.findall(body)) <= len(body) * _QUOTED_PRINTABLE_UP_TO:
        return _with_encoding(head, header.fields, b"quoted-printable") + _quoted_printable(body)
    return _with_encoding(head, header.fields, b"base64") + with_crlf(base64.encodebytes(body))


def _parts(body: bytes, boundary: bytes, budget: _Budget, depth: int) -> bytes:
    """A multipart's body, its parts re-encoded."""
    delimiter = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r\n|\Z)")
    pieces: list[bytes] = []
    position, is_outside = 0, True
    while found := delimiter.search(body, max(0, position - 2) if position else 0):
        # The CR LF before a delimiter may be the one that ended the delimiter before it: an empty part.
        start = max(found.start(), position)
        pieces.append(_piece(body[position:start], budget, depth, is_outside=is_outside))
        pieces.append(body[start : found.end()])
        position, is_outside = found.end(), found.group(1) is not None
        if is_outside or position == len(body):
            break
    pieces.append(_piece(body[position:], budget, depth, is_outside=is_outside))
    return b"".join(pieces)


def _piece(piece: bytes, budget: _Budget, depth: int, *, is_outside: bool) -> bytes:
    if piece.isascii():
        return piece
    return piece.translate(_AS_QUESTION_MARKS) if is_outside else _entity(piece, budget, depth + 1)


def _with_encoding(head: bytes, fields: tuple[Field, ...], encoding: bytes) -> bytes:
    """The header, with its transfer encoding in the place of the one it had."""
    line = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    kept, is_said = [], False
    for field in fields:
        if field.name != "content-transfer-encoding":
            kept.append(field.raw)
        elif not is_said:
            kept.append(line)
            is_said = True
    rest = head[sum(len(field.raw) for field in fields) :]
    if not is_said and encoding != b"7bit":  # that is what it is without a word
        kept.append(line)
    return b"".join([*kept, rest or b"\r\n"])


def _quoted_printable(body: bytes) -> bytes:
    return with_crlf(binascii.b2a_qp(body, istext=True))


def _type_of(content_type: Field | None) -> tuple[bytes, bytes]:
    found = _TYPE.match(content_type.value) if content_type else None
    return (found.group(1).lower(), found.group(2).lower()) if found else (b"text", b"plain")


def _boundary_of(content_type: Field | None) -> bytes | None:
    found = _BOUNDARY.search(content_type.value) if content_type else None
    if found is None:
        return None
    return (found.group(1) or found.group(2)).rstrip()
