"""What a file's rows are once they are read: members to be, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from shared.store.members import NewMember
from shared.transfer.lines import MAX_LINE_BYTES, Line
from shared.transfer.member import NewMemberBody

TOO_LONG = f"The line is longer than {MAX_LINE_BYTES:,} bytes."
NOT_UTF8 = "The line is not UTF-8."
_BECAUSE_CHARACTERS = 500


class UnusableFile(Exception):
    """Nothing of the file can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A good row and the line it begins on."""

    line: int
    member: NewMember


@dataclass(frozen=True, slots=True)
class Rejected:
    """A bad row and the line it begins on."""

    line: int
    because: str


Row = Taken | Rejected


class RowReader(Protocol):
    """Makes rows of lines. Raises `UnusableFile`."""

    def read(self, line: Line) -> Iterator[Row]:
        """The rows that are complete with `line`."""

    def finish(self) -> Iterator[Row]:
        """The rows that only the file's end completes."""


def checked(line: int, given: dict[str, Any]) -> Row:
    """The row of one object."""
    try:
        return Taken(line, NewMemberBody.model_validate(given).row())
    except ValidationError as error:
        return Rejected(line, sentence_of(error))


def sentence_of(error: ValidationError) -> str:
    """All that is wrong, each with its place, on one line."""
    parts = []
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(step) for step in found["loc"] if step != "[key]")
        what = {"extra_forbidden": "There is no such field.", "missing": "This is missing."}.get(
            found["type"], found["msg"]
        )
        parts.append(f"{where}: {what}" if where else what)
    return " ".join(parts)[:_BECAUSE_CHARACTERS]
