"""NDJSON: one JSON object a line, with the fields of `POST /lists/{address}/members`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pydantic_core
from pydantic import ValidationError

from shared.store.members import Member
from shared.transfer.lines import Line
from shared.transfer.member import FIXED_COLUMNS, NewMemberBody
from shared.transfer.rows import TOO_LONG, Rejected, Row, Taken, sentence_of

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class NdjsonReader:
    """Each line stands for itself."""

    def read(self, line: Line) -> Iterator[Row]:
        if line.octets is None:
            yield Rejected(line.number, TOO_LONG)
            return
        octets = line.octets.removeprefix(_BYTE_ORDER_MARK) if line.number == 1 else line.octets
        if not octets.strip():
            return
        try:
            yield Taken(line.number, NewMemberBody.model_validate_json(octets).row())
        except ValidationError as error:
            yield Rejected(line.number, sentence_of(error))

    def finish(self) -> Iterator[Row]:
        return iter(())


def written(members: Sequence[Member]) -> bytes:
    """The members, each as the line that an import takes."""
    lines = []
    for member in members:
        columns = {name: getattr(member, name) for name in FIXED_COLUMNS}
        lines.append(pydantic_core.to_json({**columns, "fields": member.fields}) + b"\n")
    return b"".join(lines)
