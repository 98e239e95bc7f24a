"""An import: rows go to the database in groups, in the file's order."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from shared.core.membership import MemberStatus
from shared.store import member_imports
from shared.store.engine import RawConnection, StoreUnavailable
from shared.store.members import NewMember
from shared.transfer.lines import LineSplitter
from shared.transfer.rows import Rejected, Row, RowReader, Taken

#: Rows that are written together.
GROUP_ROWS = 2000
#: Rejected rows that are told of one by one.
MAX_ERRORS = 100


#: Makes a transaction that commits at the end of the block.
Transaction = Callable[[], AbstractAsyncContextManager[RawConnection]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the rows of an import."""

    added: int
    updated: int
    #: Of addresses that are unsubscribed, held or suppressed.
    left_alone: int
    #: In whose place a later row with the same address was taken.
    repeated: int
    rejected: int
    #: The first rejected rows, in the file's order.
    errors: list[Rejected] = field(default_factory=list)


class ImportInterrupted(Exception):
    """The database went away; what was counted is stored, and the file can be imported again."""

    def __init__(self, so_far: Imported, stored_to_line: int) -> None:
        super().__init__(f"stored to line {stored_to_line}")
        self.so_far = so_far
        self.stored_to_line = stored_to_line


class MemberImport:
    """One file on its way into one list."""

    def __init__(self, transaction: Transaction, list_id: int, reader: RowReader) -> None:
        """Each group of rows is written in a `transaction` of its own."""
        self._transaction = transaction
        self._list_id = list_id
        self._reader = reader
        self._splitter = LineSplitter()
        #: The group that is being gathered, by address, and what was sorted out from it already.
        self._group: dict[str, NewMember] = {}
        self._left_alone_in_group = 0
        self._repeated_in_group = 0
        self._last_line = 0
        self._stored_to_line = 0
        self._added = self._updated = self._left_alone = self._repeated = self._rejected = 0
        self._errors: list[Rejected] = []

    async def run(self, chunks: AsyncIterable[bytes]) -> Imported:
        """Import the file; raises `UnusableFile`, `ImportInterrupted`, and what reading `chunks` raises."""
        async for chunk in chunks:
            for line in self._splitter.feed(chunk):
                await self._take(self._reader.read(line))
        for line in self._splitter.finish():
            await self._take(self._reader.read(line))
        await self._take(self._reader.finish())
        await self._store()
        return self._answer()

    async def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if isinstance(row, Rejected):
                self._reject(row)
            else:
                self._gather(row)
            if len(self._group) >= GROUP_ROWS:
                await self._store()

    def _reject(self, row: Rejected) -> None:
        self._rejected += 1
        if len(self._errors) < MAX_ERRORS:
            self._errors.append(row)

    def _gather(self, row: Taken) -> None:
        self._last_line = row.line
        earlier = self._group.get(row.member.email_key)
        # What the table's rows would say, were the two in different groups: who left is not brought back.
        if earlier is not None and earlier.status is not MemberStatus.SUBSCRIBED:
            self._left_alone_in_group += 1
            return
        self._repeated_in_group += earlier is not None
        self._group[row.member.email_key] = row.member

    async def _store(self) -> None:
        if not self._group:
            return
        try:
            async with self._transaction() as connection:
                await member_imports.wait_for_other_imports(connection, self._list_id)
                counts = await member_imports.import_rows(connection, self._list_id, list(self._group.values()))
        except StoreUnavailable as error:
            raise ImportInterrupted(self._answer(), self._stored_to_line) from error
        self._stored_to_line = self._last_line
        self._added += counts.added
        self._updated += counts.updated
        self._left_alone += counts.left_alone + self._left_alone_in_group
        self._repeated += self._repeated_in_group
        self._group.clear()
        self._left_alone_in_group = self._repeated_in_group = 0

    def _answer(self) -> Imported:
        return Imported(
            added=self._added,
            updated=self._updated,
            left_alone=self._left_alone,
            repeated=self._repeated,
            rejected=self._rejected,
            errors=self._errors,
        )
