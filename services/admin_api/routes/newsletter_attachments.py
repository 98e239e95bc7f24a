"""Files that go with newsletters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.requests import ClientDisconnect

from services.admin_api.checked_route import StreamingRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.routes.newsletters import NewsletterId, newsletter_at, to_edit
from services.admin_api.schemas.base import MAX_ID
from services.admin_api.schemas.newsletters import AttachmentAnswer
from shared.core import attachment
from shared.store import newsletter_attachments, newsletters
from shared.store.newsletter_attachments import AttachmentRow, NewsletterAttachment

router = APIRouter(prefix="/newsletters/{newsletter_id}/attachments", tags=["Newsletters"], route_class=StreamingRoute)

AttachmentId = Annotated[int, Path(ge=1, le=MAX_ID, description="The attachment's number.")]
_FILE = {"schema": {"type": "string", "format": "binary"}}


@router.get("")
async def get_newsletter_attachments(database: Store, newsletter_id: NewsletterId) -> list[AttachmentAnswer]:
    """A newsletter's attachments, in the order they were added."""
    async with database.snapshot() as session:
        await newsletter_at(session, newsletter_id)
        return [_answer(row) for row in await newsletter_attachments.rows(session, newsletter_id)]


@router.post("", status_code=201, openapi_extra={"requestBody": {"required": True, "content": {"*/*": _FILE}}})
async def add_newsletter_attachment(
    database: Store,
    newsletter_id: NewsletterId,
    request: Request,
    response: Response,
    file_name: Annotated[
        str,
        Query(max_length=1000, description="What readers see it called: 1 to 150 characters, and no path."),
    ],
    content_id: Annotated[
        str,
        Query(max_length=1000, description="For an image: what the HTML calls it, `cid:…`. Else absent."),
    ] = "",
) -> AttachmentAnswer:
    """Add a file: the body, as it is, of the type that Content-Type says; at most 10,485,760 bytes, of all files of a
    newsletter 17,825,792, and 50 files. A newsletter that was approved or scheduled is a draft then.

    An image with a `content_id` stands where the HTML shows it; everything else goes with the newsletter as a file.
    """
    content_type = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    _check(file_name, content_id, content_type)
    # Told before the file has come, and asked again once it has.
    async with database.transaction() as session:
        await to_edit(session, newsletter_id)
    content = await _content(request)
    async with database.transaction() as session:
        newsletter = await to_edit(session, newsletter_id)
        _check_room(await newsletter_attachments.rows(session, newsletter_id), content_id, len(content))
        added = NewsletterAttachment(
            newsletter_id=newsletter_id,
            file_name=file_name,
            content_type=content_type,
            content_id=content_id,
            content=content,
        )
        session.add(added)
        await session.flush()
        await newsletters.mark_edited(session, newsletter)
    response.headers["Location"] = f"/api/v1/newsletters/{newsletter_id}/attachments/{added.id}"
    return _answer(AttachmentRow(added.id, file_name, content_type, content_id, len(content)))


@router.delete("/{attachment_id}", status_code=204)
async def delete_newsletter_attachment(
    database: Store, newsletter_id: NewsletterId, attachment_id: AttachmentId
) -> None:
    """Take an attachment away. A newsletter that was approved or scheduled is a draft then."""
    async with database.transaction() as session:
        newsletter = await to_edit(session, newsletter_id)
        if not await newsletter_attachments.remove(session, newsletter_id, attachment_id):
            raise Problem(404, f"Newsletter {newsletter_id} has no attachment {attachment_id}.")
        await newsletters.mark_edited(session, newsletter)


def _check(file_name: str, content_id: str, content_type: str) -> None:
    faults = {
        "file_name": attachment.fault_of_file_name(file_name),
        "content_id": attachment.fault_of_content_id(content_id, content_type),
        "Content-Type": attachment.fault_of_content_type(content_type),
    }
    errors = [{"parameter": name, "detail": fault} for name, fault in faults.items() if fault]
    if errors:
        raise Problem(422, "The request is not well formed: see errors.", errors=errors)


def _check_room(rows: list[AttachmentRow], content_id: str, size_bytes: int) -> None:
    if len(rows) >= attachment.MAX_ATTACHMENTS:
        raise _no_room(f"A newsletter has at most {attachment.MAX_ATTACHMENTS} attachments.")
    if sum(row.size_bytes for row in rows) + size_bytes > attachment.MAX_ATTACHMENTS_BYTES:
        raise _no_room(f"All attachments of a newsletter have at most {attachment.MAX_ATTACHMENTS_BYTES:,} bytes.")
    if content_id and any(row.content_id == content_id for row in rows):
        raise Problem(409, f"The newsletter has an image with the content_id {content_id} already.")


def _no_room(detail: str) -> Problem:
    return Problem(422, "The request is not well formed: see errors.", errors=[{"pointer": "#", "detail": detail}])


async def _content(request: Request) -> bytes:
    too_large = Problem(
        413,
        f"The file is larger than {attachment.MAX_ATTACHMENT_BYTES:,} bytes.",
        headers={"Connection": "close"},
    )
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > attachment.MAX_ATTACHMENT_BYTES:
        raise too_large
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "A compressed body is not taken.")
    content = bytearray()
    try:
        async for piece in request.stream():
            content += piece
            if len(content) > attachment.MAX_ATTACHMENT_BYTES:
                raise too_large
    except ClientDisconnect as error:
        raise Problem(400, "The body ended before its end.") from error
    if not content:
        raise _no_room("The file is empty.")
    return bytes(content)


def _answer(row: AttachmentRow) -> AttachmentAnswer:
    return AttachmentAnswer(
        id=row.id,
        file_name=row.file_name,
        content_type=row.content_type,
        content_id=row.content_id,
        size_bytes=row.size_bytes,
    )
