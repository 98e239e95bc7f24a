"""An import: rows go to the database in groups, in the file's order."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from services.admin_api.schemas.members import ImportAnswer, RejectedRow
from services.admin_api.transfer.lines import LineSplitter
from services.admin_api.transfer.rows import Rejected, Row, RowReader, Taken
from shared.core.membership import MemberStatus
from shared.store import members
from shared.store.engine import Database, StoreUnavailable
from shared.store.members import NewMember

#: Rows that are written together.
GROUP_ROWS = 2000
#: Rejected rows that are told of one by one.
MAX_ERRORS = 100


class ImportInterrupted(Exception):
    """The database went away; what was counted is stored, and the file can be imported again."""

    def __init__(self, so_far: ImportAnswer, stored_to_line: int) -> None:
        super().__init__(f"stored to line {stored_to_line}")
        self.so_far = so_far
        self.stored_to_line = stored_to_line


class MemberImport:
    """One file on its way into one list."""

    def __init__(self, database: Database, list_id: int, reader: RowReader) -> None:
        self._database = database
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
        self._errors: list[RejectedRow] = []

    async def run(self, chunks: AsyncIterable[bytes]) -> ImportAnswer:
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
            self._errors.append(RejectedRow(line=row.line, because=row.because))

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
            async with self._database.raw_transaction() as connection:
                await members.wait_for_other_imports(connection, self._list_id)
                counts = await members.import_rows(connection, self._list_id, list(self._group.values()))
        except StoreUnavailable as error:
            raise ImportInterrupted(self._answer(), self._stored_to_line) from error
        self._stored_to_line = self._last_line
        self._added += counts.added
        self._updated += counts.updated
        self._left_alone += counts.left_alone + self._left_alone_in_group
        self._repeated += self._repeated_in_group
        self._group.clear()
        self._left_alone_in_group = self._repeated_in_group = 0

    def _answer(self) -> ImportAnswer:
        return ImportAnswer(
            added=self._added,
            updated=self._updated,
            left_alone=self._left_alone,
            repeated=self._repeated,
            rejected=self._rejected,
            errors=self._errors,
        )
