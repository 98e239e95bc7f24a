"""CSV (RFC 4180) in UTF-8, with a header row: how members stand in it, both ways.

`email`, `display_name`, `status`, `delivery_mode` and `role` are the member's own; any other column is a custom field
of that name. An empty cell is an absent value. A field's value that is no text, or an empty one, stands as JSON in a
column `NAME:json`.

A spreadsheet takes a cell that begins with `=` and the like for a formula. Such a cell is written with an apostrophe
before it, and an apostrophe before such a character is taken off again; so what was exported is imported unchanged.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic_core
from pydantic_core import PydanticCustomError

from shared.store.members import Member, UsedField
from shared.transfer.lines import MAX_LINE_BYTES, Line
from shared.transfer.member import FIXED_COLUMNS, JSON_COLUMN_ENDING, field_name
from shared.transfer.rows import NOT_UTF8, TOO_LONG, Rejected, Row, UnusableFile, checked

#: A quoted cell may go over so many lines; more is a quote that was not closed.
MAX_LINES_A_ROW = 100
_OPEN_QUOTE = "unexpected end of data"

# With the full-width forms, which some spreadsheets take for the same.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n|%＝＋－＠]")


def safe_cell(text: str) -> str:
    """`text` so that no spreadsheet takes it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def cell_text(cell: str) -> str:
    """The text that `safe_cell` made the cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class CsvReader:
    """Reads the header from the first row, and a member from each further one.

    A row that is not well formed costs that row: reading goes on with the line after its first.
    """

    def __init__(self) -> None:
        self._columns: list[str] | None = None
        #: The lines of a row that is not complete, with their numbers.
        self._held: list[tuple[int, str]] = []

    def read(self, line: Line) -> Iterator[Row]:
        text, because = _decoded(line)
        if because is None:
            self._held.append((line.number, text))
            yield from self._complete(is_end=False)
            return
        yield from self._complete(is_end=True)
        if self._columns is None:
            raise UnusableFile(f"The header cannot be read: {because}")
        yield Rejected(line.number, because)

    def finish(self) -> Iterator[Row]:
        yield from self._complete(is_end=True)
        if self._columns is None:
            raise UnusableFile("The file is empty: it begins with a header row that has a column email.")

    def _complete(self, *, is_end: bool) -> Iterator[Row]:
        """Rows made of the lines that are held; what may still be completed stays, unless this is the end."""
        waiting, self._held = self._held, []
        while waiting:
            self._held.append(waiting.pop(0))
            number = self._held[0][0]
            try:
                cells = next(csv.reader([text for _, text in self._held], strict=True))
            except (csv.Error, StopIteration) as error:
                if str(error) == _OPEN_QUOTE and self._may_go_on(has_more=bool(waiting) or not is_end):
                    continue
                yield self._malformed(number, str(error))
                waiting, self._held = self._held[1:] + waiting, []
                continue
            self._held = []
            if cells:
                yield from self._row(number, cells)

    def _may_go_on(self, *, has_more: bool) -> bool:
        size = sum(len(text) for _, text in self._held)
        return has_more and len(self._held) < MAX_LINES_A_ROW and size < MAX_LINE_BYTES

    def _malformed(self, number: int, error: str) -> Rejected:
        because = "A quote is opened and not closed." if error == _OPEN_QUOTE else f"This is not CSV: {error}."
        if self._columns is None:
            raise UnusableFile(f"The header cannot be read: {because}")
        return Rejected(number, because)

    def _row(self, number: int, cells: list[str]) -> Iterator[Row]:
        if self._columns is None:
            self._columns = _header(cells)
        elif len(cells) != len(self._columns):
            yield Rejected(number, f"The row has {len(cells)} cells, the header has {len(self._columns)}.")
        else:
            yield _member(number, self._columns, cells)


def _decoded(line: Line) -> tuple[str, str | None]:
    """The line's text, or why it has none."""
    if line.octets is None:
        return "", TOO_LONG
    try:
        return line.octets.decode("utf-8-sig" if line.number == 1 else "utf-8"), None
    except UnicodeDecodeError:
        return "", NOT_UTF8


def _header(cells: list[str]) -> list[str]:
    columns = [cell_text(cell.strip()) for cell in cells]
    columns = [name.lower() if name.lower() in FIXED_COLUMNS else name for name in columns]
    if "email" not in columns:
        raise UnusableFile("The header has no column email; columns are separated by commas.")
    for name in columns:
        if columns.count(name) > 1:
            raise UnusableFile(f"The header has two columns {name!r}.")
        if name not in FIXED_COLUMNS:
            try:
                field_name(name.removesuffix(JSON_COLUMN_ENDING))
            except PydanticCustomError as error:
                raise UnusableFile(f"The header has a column {name!r}. {error.message()}") from error
    return columns


def _member(number: int, columns: list[str], cells: list[str]) -> Row:
    given: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        text = cell_text(cell)
        if not text:
            continue
        if column == "display_name":
            given[column] = text
        elif column in FIXED_COLUMNS:
            given[column] = text.strip()
        elif column.endswith(JSON_COLUMN_ENDING):
            try:
                fields[column.removesuffix(JSON_COLUMN_ENDING)] = pydantic_core.from_json(text, allow_inf_nan=False)
            except ValueError:
                return Rejected(number, f"{column}: This is not JSON.")
        else:
            fields[column] = text
    return checked(number, {**given, "fields": fields})


class CsvWriter:
    """Writes members so that `CsvReader` makes the same members of them."""

    def __init__(self, used: Sequence[UsedField]) -> None:
        self._texts = [field.name for field in used if field.has_texts]
        self._others = [field.name for field in used if field.has_others]

    def header(self) -> bytes:
        return csv_line([*FIXED_COLUMNS, *self._texts, *(name + JSON_COLUMN_ENDING for name in self._others)])

    def written(self, members: Sequence[Member]) -> bytes:
        return b"".join(csv_line(self._cells(member)) for member in members)

    def _cells(self, member: Member) -> list[str]:
        own = [str(getattr(member, name)) for name in FIXED_COLUMNS]
        fields = member.fields
        texts = [value if isinstance(value := fields.get(name), str) else "" for name in self._texts]
        others = [
            pydantic_core.to_json(fields[name]).decode() if name in fields and not _is_full_text(fields[name]) else ""
            for name in self._others
        ]
        return [*own, *texts, *others]


def _is_full_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def csv_line(cells: Sequence[str]) -> bytes:
    """A row, each cell of it as `safe_cell` makes it."""
    line = io.StringIO()
    csv.writer(line).writerow([safe_cell(cell) for cell in cells])
    return line.getvalue().encode()
