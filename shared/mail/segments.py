"""A message compiled once: literal bytes that all copies share, and slots between them that a member's values fill.
A condition is one slot, whatever it holds.

Every piece is whole lines, so each is dot-stuffed and canonicalised by itself, and nothing is joined for a recipient.
A text with merge fields or tracked links becomes UTF-8 in quoted-printable: there any value fits, whatever the author's
character set and encoding were, and a soft line break before and behind each value keeps all lines short without
looking at it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import ClassVar

from shared.mail.conditions import Choice
from shared.mail.headers import STORED, Field, Unreadable, folded, scan
from shared.mail.lines import LONE_DOT, double_dots, ended
from shared.mail.merge import MergeField, Values, split
from shared.mail.merge_language import Parsed, parse
from shared.mail.parts import Part, retyped, text_parts
from shared.mail.template import UnreadablePost
from shared.mail.text_slots import BodyPiece, ChoiceSlot, TextPiece, encoded_pieces
from shared.mail.tracking import ReaderSlot, Tracking
from shared.mail.words import codec_of, encode_text

#: Fields without structure, in which merge fields count, beside all that begin with `X-`.
MERGED_FIELDS = frozenset({"subject", "comments", "keywords"})

# It is read (RFC 5322 §4.5), but not to be written, and some verifiers of signatures stumble over it.
_LOOSE_COLON = re.compile(rb"\A([!-9;-~]+)[ \t]+:")

#: Pieces up to so much are joined; a larger one is not copied.
_SMALL_BYTES = 65_536
#: Each encoding of a part that is read.
_IDENTITIES = frozenset({"7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class FieldSlot:
    """A header field that holds merge fields or conditions."""

    name: str
    pieces: tuple[str | MergeField | Choice[str | MergeField], ...]

    def fill(self, values: Values) -> bytes:
        chosen = chain.from_iterable(
            piece.chosen(values) if isinstance(piece, Choice) else (piece,) for piece in self.pieces
        )
        text = "".join([piece if isinstance(piece, str) else piece.text(values) for piece in chosen])
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
class CompiledMessage:
    """Header and body in pieces, before dot-stuffing. No two literal pieces of the body follow one another."""

    fields: tuple[bytes | FieldSlot | TokenSlot, ...]
    body: tuple[BodyPiece, ...]


class Wire:
    """The message as it follows DATA: dot-stuffed, with the final dot. All that is kept of it when it is compiled."""

    def __init__(self, message: CompiledMessage) -> None:
        pieces = (*message.fields, *message.body)
        self._slots = [piece for piece in pieces if not isinstance(piece, bytes)]
        in_branches = [leaf for slot in self._slots if isinstance(slot, ChoiceSlot) for leaf in slot.choice.leaves()]
        #: What recipients' tokens in the text are for; none where all copies have the same addresses.
        self.reader_purposes = frozenset(
            slot.purpose for slot in (*self._slots, *in_branches) if isinstance(slot, ReaderSlot)
        )
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
        #: All that is kept; a copy has of each condition one branch only.
        self.size_bytes = sum(map(len, chain.from_iterable(self._literals)))
        self.size_bytes += sum(len(leaf) for leaf in in_branches if isinstance(leaf, bytes))

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


def compile_message(
    content: bytes, *, is_personal: bool, has_conditions: bool = False, tracking: Tracking | None = None
) -> CompiledMessage:
    """`content`, its lines ended by CR LF, in pieces; merge fields count only in a personal one, conditions only where
    they are said to count as well, and links are tracked only as `tracking` says.

    Without any of these nothing is changed but a last line's missing end, and white space before a field's colon.
    Raises `UnreadablePost`, also for a text whose conditions have a fault: nobody gets what was meant for others.
    """
    header = scan(content, STORED)
    if isinstance(header, Unreadable):
        raise UnreadablePost(header.because)
    fields: list[bytes] = [_written(field.raw) for field in header.fields]
    body: list[BodyPiece] = []
    position = header.body_at
    has_image = False
    for part in text_parts(content) if is_personal or tracking else ():
        text = text_of(content, part) or ""
        tracked: list[str | ReaderSlot] = [text]
        if tracking and text:
            tracked = tracking.pieces(text, is_html=part.is_html, has_image=not has_image)
            has_image = has_image or part.is_html
        pieces = _pieces(tracked, is_personal, has_conditions, is_html=part.is_html)
        if not text or pieces == [text]:
            continue
        if part.header_at == 0:
            fields = _retyped(part)
        else:
            body += [content[position : part.header_at], *_retyped(part), b"\r\n"]
        body += encoded_pieces(pieces, is_html=part.is_html)
        position = part.end
    body.append(content[position:])
    return CompiledMessage(
        tuple(_field_piece(raw, is_personal, has_conditions) for raw in fields), tuple(_merged(body))
    )


def _pieces(
    tracked: Sequence[str | ReaderSlot], is_personal: bool, has_conditions: bool, *, is_html: bool
) -> list[TextPiece | Choice[TextPiece]]:
    if not is_personal:
        return [*tracked]
    if not has_conditions:
        return [cut for piece in tracked for cut in (split(piece) if isinstance(piece, str) else [piece])]
    parsed = parse(tracked, is_html=is_html)
    if parsed.faults:
        raise UnreadablePost(f"its {'HTML' if is_html else 'text'}, {parsed.faults[0]}")
    return [*parsed.pieces]


def _written(raw: bytes) -> bytes:
    return ended(_LOOSE_COLON.sub(rb"\1:", raw))


def _field_piece(raw: bytes, is_personal: bool, has_conditions: bool) -> bytes | FieldSlot:
    written_name = raw.partition(b":")[0].rstrip(b" \t").decode("ascii")
    name = written_name.lower()
    if not is_personal or not (name in MERGED_FIELDS or name.startswith("x-")):
        return raw
    text = Field(name, raw).text
    if not has_conditions:
        split_pieces = split(text)
        return raw if len(split_pieces) == 1 else FieldSlot(written_name, tuple(split_pieces))
    literals: list[str] = [text]
    parsed: Parsed[str | MergeField] = parse(literals)
    if parsed.faults:
        raise UnreadablePost(f"its field {written_name}, {parsed.faults[0]}")
    return raw if parsed.pieces == (text,) else FieldSlot(written_name, parsed.pieces)


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


def _merged(pieces: list[BodyPiece]) -> list[BodyPiece]:
    """Neighbouring literals as one, no empty one, the last line ended."""
    merged: list[BodyPiece] = []
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
