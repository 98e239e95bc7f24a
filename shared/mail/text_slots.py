"""What a member gets in a text: merge fields, conditions and tokens as slots between literals in quoted-printable.

A slot's filling is whole lines that end with a soft line break; so is a literal before a slot, unless it has a line end
of its own. So pieces know nothing of one another, no line is too long, and the last line of a filling is never blank.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shared.mail.conditions import Choice
from shared.mail.merge import MergeField, Values
from shared.mail.tracking import ReaderSlot
from shared.mail.transfer_encoding import QUOTED_PRINTABLE_LINE, quoted_printable

_SOFT_BREAK = b"=\r\n"
#: A value that is the same in HTML and in quoted-printable: most are, and the test is what they cost.
_PLAIN = re.compile(r"(?:[!#-%(-;?-~]| (?!\Z)){1,70}")


@dataclass(frozen=True, slots=True)
class TextSlot:
    """A merge field in a quoted-printable text; its filling begins and ends with a line and is never blank."""

    field: MergeField
    is_html: bool

    def fill(self, values: Values) -> bytes:
        value = values.get(self.field.name, "")
        if not self.field.is_in_url and _PLAIN.fullmatch(value):
            return value.encode("ascii") + _SOFT_BREAK
        text = self.field.text(values, html.escape) if self.is_html else self.field.text(values)
        return _softly_ended(quoted_printable(text))


@dataclass(frozen=True, slots=True)
class ChoiceSlot:
    """A condition in a quoted-printable text; its filling ends with a soft line break, so its last line is not blank,
    whichever branch it is and even if that is empty."""

    choice: Choice[bytes | TextSlot | ReaderSlot]

    def fill(self, values: Values) -> bytes:
        chosen = self.choice.chosen(values)
        filling = b"".join([piece if isinstance(piece, bytes) else piece.fill(values) for piece in chosen])
        return filling if filling.endswith(_SOFT_BREAK) else filling + _SOFT_BREAK


#: What a compiled body is made of.
BodyPiece: TypeAlias = bytes | TextSlot | ReaderSlot | ChoiceSlot
#: What a text is made of before it is encoded; a condition's branches, too.
TextPiece: TypeAlias = str | MergeField | ReaderSlot


def encoded_pieces(pieces: Sequence[TextPiece | Choice[TextPiece]], *, is_html: bool) -> list[BodyPiece]:
    """A text in quoted-printable: its literals, and slots for the rest."""

    def encoded(piece: TextPiece) -> bytes | TextSlot | ReaderSlot:
        if isinstance(piece, str):
            literal = quoted_printable(piece)
            return literal if not literal or literal.endswith(b"\r\n") else _softly_ended(literal)
        return TextSlot(piece, is_html) if isinstance(piece, MergeField) else piece

    made: list[BodyPiece] = [
        ChoiceSlot(piece.with_leaves(encoded)) if isinstance(piece, Choice) else encoded(piece) for piece in pieces
    ]
    if pieces and isinstance(pieces[-1], str):
        made[-1] = quoted_printable(pieces[-1])  # behind it comes what is not of this text
    return made


def _softly_ended(encoded: bytes) -> bytes:
    """`encoded` with a soft line break at its end, and one more where its last line has no room for that."""
    if len(encoded) - encoded.rfind(b"\n") - 1 > QUOTED_PRINTABLE_LINE - len(b"="):
        last_at = -3 if encoded[-3:-2] == b"=" else -1
        encoded = encoded[:last_at] + _SOFT_BREAK + encoded[last_at:]
    return encoded + _SOFT_BREAK
