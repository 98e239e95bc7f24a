"""A message compiled once: literal bytes that all copies share, and slots between them that a member's values fill.

Every piece is whole lines, so each is dot-stuffed and canonicalised by itself, and nothing is joined for a recipient.
A text with merge fields or tracked links becomes UTF-8 in quoted-printable: there any value fits, whatever the author's
character set and encoding were, and a soft line break before and behind each value keeps all lines short without
looking at it.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import ClassVar

from shared.mail.headers import STORED, Field, Unreadable, folded, scan
from shared.mail.lines import LONE_DOT, double_dots, ended
from shared.mail.merge import MergeField, Values, split
from shared.mail.parts import Part, retyped, text_parts
from shared.mail.template import UnreadablePost
from shared.mail.tracking import ReaderSlot, Tracking
from shared.mail.transfer_encoding import QUOTED_PRINTABLE_LINE, quoted_printable_octets
from shared.mail.words import codec_of, encode_text

#: Fields without structure, in which merge fields count, beside all that begin with `X-`.
MERGED_FIELDS = frozenset({"subject", "comments", "keywords"})

# It is read (RFC 5322 §4.5), but not to be written, and some verifiers of signatures stumble over it.
_LOOSE_COLON = re.compile(rb"\A([!-9;-~]+)[ \t]+:")

_SOFT_BREAK = b"=\r\n"
#: Pieces up to so much are joined; a larger one is not copied.
_SMALL_BYTES = 65_536
#: Each encoding of a part that is read.
_IDENTITIES = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class FieldSlot:
    """A header field that holds merge fields."""

    name: str
    pieces: tuple[str | MergeField, ...]

    def fill(self, values: Values) -> bytes:
        text = "".join(piece if isinstance(piece, str) else piece.text(values) for piece in self.pieces)
        return folded(self.name, encode_text(text))


@dataclass(frozen=True, slots=True)
class TokenSlot:
    """A header field that names the recipient's own token, twice."""

    name: str
    #: The whole field, with `%b` where the token stands.
    field: bytes

    #: What the token is called among the values: no merge field can be called so.
    VALUE: ClassVar = ":token"

    def fill(self, values: Values) -> bytes:
        token = values[self.VALUE].encode("ascii")
        return self.field % (token, token)


@dataclass(frozen=True, slots=True)
class TextSlot:
    """A merge field in a quoted-printable text; its filling begins and ends with a line and is never blank."""

    field: MergeField
    is_html: bool

    def fill(self, values: Values) -> bytes:
        text = self.field.text(values, html.escape) if self.is_html else self.field.text(values)
        return _softly_ended(quoted_printable(text))


@dataclass(frozen=True, slots=True)
class CompiledMessage:
    """Header and body in pieces, before dot-stuffing. No two literal pieces of the body follow one another."""

    fields: tuple[bytes | FieldSlot | TokenSlot, ...]
    body: tuple[bytes | TextSlot | ReaderSlot, ...]


class Wire:
    """The message as it follows DATA: dot-stuffed, with the final dot. All that is kept of it when it is compiled."""

    def __init__(self, message: CompiledMessage) -> None:
        pieces = (*message.fields, *message.body)
        self._slots = [piece for piece in pieces if not isinstance(piece, bytes)]
        #: What recipients' tokens in the text are for; none where all copies have the same addresses.
        self.reader_purposes = frozenset(slot.purpose for slot in self._slots if isinstance(slot, ReaderSlot))
        #: Whether the copies have 8-bit bytes; fillings have none.
        self.has_8bit = not all(piece.isascii() for piece in pieces if isinstance(piece, bytes))
        literals: list[list[bytes]] = [[]]
        for piece in (*message.fields, b"\r\n", *message.body, LONE_DOT):
            if isinstance(piece, bytes):
                literals[-1].append(piece if piece is LONE_DOT else double_dots(piece))
            else:
                literals.append([])
        #: Before, between and behind the slots; a large one is not copied.
        self._literals = [_joined(pieces) for pieces in literals]
        self.size_bytes = sum(map(len, chain.from_iterable(self._literals)))

    @property
    def has_slots(self) -> bool:
        """Whether copies differ."""
        return bool(self._slots)

    @property
    def has_merge_fields(self) -> bool:
        """Whether there is more to fill in than tokens."""
        return not all(isinstance(slot, TokenSlot | ReaderSlot) for slot in self._slots)

    def fill(self, values: Values) -> tuple[bytes, ...]:
        """The fillings of all slots, in the message's order, for the member with these values."""
        return tuple([slot.fill(values) for slot in self._slots])

    def segments(self, fillings: Sequence[bytes] = ()) -> tuple[bytes, ...]:
        """The copy with these fillings, one a slot; its bytes are shared with all the others."""
        pieces: list[bytes] = []
        for literal, filling in zip_longest(self._literals, fillings):
            pieces += literal
            if filling is not None:
                pieces.append(double_dots(filling))
        return tuple(pieces)


def _joined(pieces: list[bytes]) -> list[bytes]:
    """Small neighbours as one."""
    joined: list[bytes] = []
    for piece in pieces:
        if joined and len(joined[-1]) + len(piece) <= _SMALL_BYTES:
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def compile_message(content: bytes, *, is_personal: bool, tracking: Tracking | None = None) -> CompiledMessage:
    """`content`, its lines ended by CR LF, in pieces; merge fields count only in a personal one, and links are tracked
    only as `tracking` says.

    Without either nothing is changed but a last line's missing end, and white space before a field's colon. Raises
    `UnreadablePost`.
    """
    header = scan(content, STORED)
    if isinstance(header, Unreadable):
        raise UnreadablePost(header.because)
    fields: list[bytes] = [_written(field.raw) for field in header.fields]
    body: list[bytes | TextSlot | ReaderSlot] = []
    position = header.body_at
    has_image = False
    for part in text_parts(content) if is_personal or tracking else ():
        text = text_of(content, part) or ""
        pieces: list[str | MergeField | ReaderSlot] = [text]
        if tracking and text:
            pieces = [*tracking.pieces(text, is_html=part.is_html, has_image=not has_image)]
            has_image = has_image or part.is_html
        if is_personal:
            pieces = [cut for piece in pieces for cut in (split(piece) if isinstance(piece, str) else [piece])]
        if pieces == [text]:
            continue
        if part.header_at == 0:
            fields = _retyped(part)
        else:
            body += [content[position : part.header_at], *_retyped(part), b"\r\n"]
        body += _quoted_printable_pieces(pieces, part.is_html)
        position = part.end
    body.append(content[position:])
    return CompiledMessage(tuple(_field_piece(raw, is_personal) for raw in fields), tuple(_merged(body)))


def _written(raw: bytes) -> bytes:
    return ended(_LOOSE_COLON.sub(rb"\1:", raw))


def _field_piece(raw: bytes, is_personal: bool) -> bytes | FieldSlot:
    written_name = raw.partition(b":")[0].rstrip(b" \t").decode("ascii")
    name = written_name.lower()
    if not is_personal or not (name in MERGED_FIELDS or name.startswith("x-")):
        return raw
    pieces = split(Field(name, raw).text)
    return raw if len(pieces) == 1 else FieldSlot(written_name, tuple(pieces))


def text_of(content: bytes, part: Part) -> str | None:
    """The part as people read it; `None` when that cannot be known for sure: then it stays as it is."""
    octets = content[part.body_at : part.end]
    codec = codec_of(part.charset or "us-ascii")
    try:
        if part.transfer_encoding == "base64":
            octets = binascii.a2b_base64(octets)
        elif part.transfer_encoding == "quoted-printable":
            octets = binascii.a2b_qp(octets)
        elif part.transfer_encoding not in _IDENTITIES:
            return None
        if codec == "ascii" and not octets.isascii():
            # Undeclared: UTF-8 if it can be, and else one character an octet.
            return _utf_8(octets) or octets.decode("latin-1")
        return None if codec is None else octets.decode(codec)
    except (binascii.Error, UnicodeError):
        return None


def _utf_8(octets: bytes) -> str | None:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _retyped(part: Part) -> list[bytes]:
    """The part's fields, now saying UTF-8 and quoted-printable."""
    return [_written(field.raw) for field in retyped(part, charset="utf-8", transfer_encoding="quoted-printable")]


def _quoted_printable_pieces(
    pieces: list[str | MergeField | ReaderSlot], is_html: bool
) -> list[bytes | TextSlot | ReaderSlot]:
    encoded: list[bytes | TextSlot | ReaderSlot] = []
    for number, piece in enumerate(pieces):
        if isinstance(piece, ReaderSlot):
            encoded.append(piece)
            continue
        if isinstance(piece, MergeField):
            encoded.append(TextSlot(piece, is_html))
            continue
        literal = quoted_printable(piece)
        is_before_slot = number + 1 < len(pieces)
        needs_break = is_before_slot and literal and not literal.endswith(b"\r\n")
        encoded.append(_softly_ended(literal) if needs_break else literal)
    return encoded


def _softly_ended(encoded: bytes) -> bytes:
    """`encoded` with a soft line break at its end, and one more where its last line has no room for that."""
    if len(encoded) - encoded.rfind(b"\n") - 1 > QUOTED_PRINTABLE_LINE - len(b"="):
        last_at = -3 if encoded[-3:-2] == b"=" else -1
        encoded = encoded[:last_at] + _SOFT_BREAK + encoded[last_at:]
    return encoded + _SOFT_BREAK


def quoted_printable(text: str) -> bytes:
    """`text` as UTF-8 in quoted-printable (RFC 2045 §6.7)."""
    return quoted_printable_octets(text.encode("utf-8", "replace"))


def _merged(pieces: list[bytes | TextSlot | ReaderSlot]) -> list[bytes | TextSlot | ReaderSlot]:
    """Neighbouring literals as one, no empty one, the last line ended."""
    merged: list[bytes | TextSlot | ReaderSlot] = []
    literals: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            literals += [piece] if piece else []
        else:
            merged += [b"".join(literals)] if literals else []
            merged.append(piece)
            literals = []
    merged += [ended(b"".join(literals))] if literals else []
    return merged
