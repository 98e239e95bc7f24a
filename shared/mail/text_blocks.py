"""Paragraphs of a plain text, wrapped; merge fields and conditions in them stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: As long as a line may be in quoted-printable; a single word may be longer.
LINE_CHARACTERS = 76

#: A space that no line breaks at, and that is not joined with others.
FIXED_SPACE = "\xa0"
#: Between two cells of a row.
CELL_END = "\x1f"

_CONDITION = re.compile(r"\{\{\s*+(?:[#/][^{}]*+|else\s*+)\}\}")
_WORD = re.compile(r"(?:\{\{[^{}]*+\}\}|[^ ])++")
_EMPTY = re.compile(rf"[\s{CELL_END}]*+")
_OUTER_CELLS = f" {FIXED_SPACE}{CELL_END}"


@dataclass(slots=True)
class Block:
    """A paragraph, an item of a list, a row of a table."""

    #: With `\n` where a line is broken on purpose; other white space is single spaces.
    text: str
    #: Before each line: of quotations.
    quote: str = ""
    #: Before the first line; the others begin as far in.
    lead: str = ""
    #: Conditions that begin or end before the lead.
    conditions: str = ""
    #: What underlines it, as a heading.
    underline: str = ""
    #: It stands right below another one that is close.
    is_close: bool = False

    def lines(self) -> list[str]:
        begin, rest = self.quote + self.lead, self.quote + " " * len(self.lead)
        lines: list[str] = []
        for part in self.text.strip(" \n").split("\n"):
            cells = part.strip(_OUTER_CELLS) if CELL_END in part else part
            wrapped = list(_wrapped(cells.replace(CELL_END, " | "), LINE_CHARACTERS - len(rest))) or [""]
            if wrapped != [""] or (lines and lines[-1]):
                lines += wrapped
        width = max(map(_width, lines))
        lines += [self.underline * min(width, LINE_CHARACTERS)] if self.underline else []
        written = [(rest if number else begin) + line for number, line in enumerate(lines)]
        written = [line.replace(FIXED_SPACE, " ").rstrip() for line in written]
        return [self.conditions + written[0], *written[1:]]


def conditions_of(text: str) -> list[str]:
    """The begins and ends of conditions in it, in order."""
    return _CONDITION.findall(text) if "{{" in text else []


def is_blank(text: str) -> bool:
    """Whether there is nothing to read in it."""
    return _EMPTY.fullmatch(_CONDITION.sub("", text) if "{{" in text else text) is not None


def joined(blocks: Sequence[Block]) -> str:
    """The blocks' lines, with empty lines between those that are not close."""
    lines: list[str] = []
    was_close = False
    for block in blocks:
        if lines and not (block.is_close and was_close):
            lines.append(block.quote.rstrip() if block.quote and lines[-1].startswith(block.quote) else "")
        lines += block.lines()
        was_close = block.is_close
    return "".join([line + "\n" for line in lines])


def _wrapped(text: str, width: int) -> Iterator[str]:
    words: list[str] = []
    length = 0
    for word in _WORD.findall(text):
        more = _width(word)
        if words and length + 1 + more > width:
            yield " ".join(words)
            words, length = [], 0
        length += more + (1 if words else 0)
        words.append(word)
    if words:
        yield " ".join(words)


def _width(text: str) -> int:
    """Conditions are not seen."""
    return len(_CONDITION.sub("", text) if "{{" in text else text)
