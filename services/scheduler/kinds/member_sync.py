"""Member sync: read a list's members from a file at an address, as an import does; or only look what it would do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass

from services.scheduler.fetching import Fetcher
from services.scheduler.run import Run, TaskFailed
from shared.contracts.task_kinds.member_sync import FileFormat, MemberSyncParameters
from shared.core.address import Address
from shared.store import lists
from shared.store.engine import RawConnection
from shared.transfer.csv_format import CsvReader
from shared.transfer.importing import Imported, ImportInterrupted, MemberImport
from shared.transfer.ndjson import NdjsonReader
from shared.transfer.rows import RowReader, UnusableFile

_READERS: dict[FileFormat, type[RowReader]] = {FileFormat.CSV: CsvReader, FileFormat.NDJSON: NdjsonReader}


@dataclass(frozen=True, slots=True)
class MemberSync:
    """The whole file each time: reading it again changes nothing, so a run that was broken off begins anew."""

    fetcher: Fetcher

    async def __call__(self, run: Run, parameters: MemberSyncParameters) -> Imported:
        """What became of the rows. Raises `TaskFailed`; what was written until then stays."""
        async with run.step() as connection:
            name, _, domain = Address.parse(parameters.list).key.rpartition("@")
            list_id = await lists.id_of(connection, name, domain)
        if list_id is None:
            raise TaskFailed(f"There is no list {parameters.list}.")

        def transaction() -> AbstractAsyncContextManager[RawConnection]:
            return _undone(run) if parameters.preview else run.step()

        reader = _READERS[parameters.format]()
        try:
            async with aclosing(self.fetcher.chunks(parameters.url)) as chunks:
                return await MemberImport(transaction, list_id, reader).run(chunks)
        except UnusableFile as error:
            raise TaskFailed(f"Nothing of the file can be read. {error}") from error
        except ImportInterrupted as error:
            raise TaskFailed(f"The database was away: {error.__cause__}") from error


@asynccontextmanager
async def _undone(run: Run) -> AsyncIterator[RawConnection]:
    """A step of which nothing stays but that it was made."""
    async with run.step() as connection:
        work = connection.transaction()
        await work.start()
        try:
            yield connection
        finally:
            await work.rollback()
