"""Members from a file."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect

from services.admin_api.checked_route import StreamingRoute
from services.admin_api.problems import DATABASE_DOWN, RETRY_AFTER_SECONDS, Problem
from services.admin_api.routes.lists import ListAddress, Store, list_at
from services.admin_api.schemas.members import ImportAnswer
from shared.transfer.csv_format import CsvReader
from shared.transfer.importing import ImportInterrupted, MemberImport
from shared.transfer.ndjson import NdjsonReader
from shared.transfer.rows import RowReader, UnusableFile

_log = structlog.get_logger(__name__)

router = APIRouter(prefix="/lists/{address}/members", tags=["Members"], route_class=StreamingRoute)

_READERS: dict[str, type[RowReader]] = {
    "text/csv": CsvReader,
    "application/x-ndjson": NdjsonReader,
    "application/ndjson": NdjsonReader,
}
_FILE = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/import",
    openapi_extra={"requestBody": {"required": True, "content": {"text/csv": _FILE, "application/x-ndjson": _FILE}}},
)
async def import_members(database: Store, address: ListAddress, request: Request) -> ImportAnswer:
    """Add or update members from CSV (UTF-8, a header row, commas) or NDJSON, of any length.

    CSV: the columns `email` (required), `display_name`, `status`, `delivery_mode` and `role`; any other column is a
    custom field, an empty cell an absent value, a column `NAME:json` holds JSON values. NDJSON: one object a line, as
    for adding a member. A bad row is reported with its line number, and the others are taken. Whoever unsubscribed,
    is held or suppressed stays so, whatever the row says. The same file can be imported again at any time.
    """
    reader = _reader_for(request)
    async with database.transaction() as session:
        list_id = (await list_at(session, address)).id
    try:
        imported = await MemberImport(database.raw_transaction, list_id, reader).run(request.stream())
        return ImportAnswer.model_validate(imported)
    except UnusableFile as error:
        raise Problem(422, str(error), errors=[{"pointer": "#", "detail": str(error)}]) from error
    except ImportInterrupted as error:
        _log.warning("import interrupted", stored_to_line=error.stored_to_line, error=str(error.__cause__))
        raise Problem(
            503,
            f"{DATABASE_DOWN} The rows up to line {error.stored_to_line} are stored; importing the whole file again"
            " does no harm.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            stored_to_line=error.stored_to_line,
            so_far=ImportAnswer.model_validate(error.so_far).model_dump(),
        ) from error
    except ClientDisconnect as error:
        raise Problem(400, "The body ended before its end.") from error


def _reader_for(request: Request) -> RowReader:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _READERS:
        raise Problem(415, "The body is a file: Content-Type is text/csv or application/x-ndjson.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "A compressed body is not taken.")
    return _READERS[media_type]()
