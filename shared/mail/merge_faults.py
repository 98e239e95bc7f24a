"""What can be wrong with a text's merge fields and conditions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What is wrong at a place."""

    #: No member has a field of that name.
    UNKNOWN_FIELD = "unknown_field"
    #: What stands between braces is no merge field.
    NO_FIELD = "no_field"
    #: Too many braces, or too few.
    BRACES = "braces"
    #: Behind `#` or `/` stands a word that means nothing.
    UNKNOWN_WORD = "unknown_word"
    #: What stands behind `#if` is no condition.
    NO_CONDITION = "no_condition"
    #: A condition has no end.
    UNCLOSED = "unclosed"
    #: An end or an else without a condition, or a second else.
    UNOPENED = "unopened"
    #: Conditions are nested too deep.
    TOO_DEEP = "too_deep"
    #: There are more merge fields and conditions than a text may have.
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a text, and where."""

    kind: FaultKind
    #: From 1; lines end with LF.
    line: int
    #: Of the first brace, in characters from 1.
    column: int
    #: The field's name, where one was written.
    field: str | None
    #: One clause, with the author's words in it where that helps.
    because: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.because}"


def fault_at(text: str, offset: int, kind: FaultKind, name: str | None, because: str) -> Fault:
    """A fault at an offset in `text`."""
    line_at = text.rfind("\n", 0, offset) + 1
    return Fault(kind, text.count("\n", 0, line_at) + 1, offset - line_at + 1, name, because)
