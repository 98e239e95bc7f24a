"""Members as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.routes.lists import ListAddress, Store, list_at
from shared.store import members
from shared.store.engine import Database
from shared.store.members import Member
from shared.transfer import ndjson
from shared.transfer.csv_format import CsvWriter

router = APIRouter(prefix="/lists/{address}/members", tags=["Members"], route_class=CheckedRoute)

PAGE_ROWS = 1000


class Format(StrEnum):
    """How an export is written."""

    CSV = "csv"
    NDJSON = "ndjson"

    @property
    def media_type(self) -> str:
        return "text/csv; charset=utf-8; header=present" if self is Format.CSV else "application/x-ndjson"


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}, "description": "The file."}},
)
async def export_members(
    database: Store,
    address: ListAddress,
    file_format: Annotated[Format, Query(alias="format", description="How the file is written.")] = Format.CSV,
) -> StreamingResponse:
    """All members as they were imported; the file can be imported again unchanged.

    In CSV a cell that a spreadsheet would take for a formula has an apostrophe before it, which an import takes off;
    the columns are the custom fields that the list's members have when the export begins.
    """
    async with database.transaction() as session:
        mailing_list = await list_at(session, address)
        writer = CsvWriter(await members.used_fields(session, mailing_list.id))
        first = await members.page(session, mailing_list.id, limit=PAGE_ROWS)

    async def file() -> AsyncIterator[bytes]:
        if file_format is Format.CSV:
            yield writer.header()
        async for page in _pages(database, mailing_list.id, first):
            yield writer.written(page) if file_format is Format.CSV else ndjson.written(page)

    return StreamingResponse(
        file(),
        media_type=file_format.media_type,
        headers={"Content-Disposition": f'attachment; filename="{mailing_list.name}-members.{file_format.value}"'},
    )


async def _pages(database: Database, list_id: int, first: Sequence[Member]) -> AsyncIterator[Sequence[Member]]:
    """All members; between two pages no connection is held, since the reader may be slow."""
    page = first
    while page:
        yield page
        async with database.transaction() as session:
            page = await members.page(session, list_id, after_id=page[-1].id, limit=PAGE_ROWS)
