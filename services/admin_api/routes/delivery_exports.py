"""What became of a mailing's recipients, as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import datetime

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.routes.deliveries import Filtered
from services.admin_api.routes.lists import Store
from services.admin_api.routes.mailings import MailingId, mailing_at
from shared.core.smtp_reply import Reply
from shared.store import choosing, fates
from shared.store.choosing import Choice
from shared.store.engine import Database
from shared.store.fates import Fate
from shared.transfer.csv_format import csv_line

router = APIRouter(prefix="/mailings", tags=["Deliveries"], route_class=CheckedRoute)

PAGE_ROWS = 1000

_COLUMNS = tuple(field.name for field in fields(Fate))
#: Behind the reply code, of whose text it is the beginning.
_ENHANCED_AT = _COLUMNS.index("reply_code") + 1


@router.get(
    "/{mailing_id}/deliveries.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {}}, "description": "The file."}},
)
async def export_deliveries(database: Store, mailing_id: MailingId, choice: Filtered) -> StreamingResponse:
    """What became of each recipient that meets the filters: a row each, with the last attempt's reply in the remote's
    own words, and why it bounced, if it did.

    A cell that a spreadsheet would take for a formula has an apostrophe before it. Moments are in UTC.
    """
    async with database.transaction() as session:
        await mailing_at(session, mailing_id)

    async def file() -> AsyncIterator[bytes]:
        yield csv_line([*_COLUMNS[:_ENHANCED_AT], "enhanced_status", *_COLUMNS[_ENHANCED_AT:]])
        async for page in _pages(database, mailing_id, choice):
            yield page

    return StreamingResponse(
        file(),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="mailing-{mailing_id}-deliveries.csv"'},
    )


async def _pages(database: Database, mailing_id: int, choice: Choice) -> AsyncIterator[bytes]:
    """The rows; between two pages no connection is held, since the reader may be slow."""
    after_key: str | None = ""
    while after_key is not None:
        async with database.raw_transaction() as connection:
            chosen = await choosing.page(connection, mailing_id, choice, after_key, limit=PAGE_ROWS)
            found = await fates.of(connection, mailing_id, chosen.delivery_ids)
        yield b"".join(_row(fate) for fate in found)
        after_key = chosen.next_key


def _row(fate: Fate) -> bytes:
    cells = [_cell(getattr(fate, name)) for name in _COLUMNS]
    reply = Reply(fate.reply_code, fate.reply_text or "") if fate.reply_code is not None else None
    enhanced_status = (reply.enhanced_status if reply else None) or ""
    return csv_line([*cells[:_ENHANCED_AT], enhanced_status, *cells[_ENHANCED_AT:]])


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return "" if value is None else str(value)
