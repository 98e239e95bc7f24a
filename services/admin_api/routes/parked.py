"""What was set aside whole: deliveries and payloads that nothing could handle, to be sent again once it can."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import RETRY_AFTER_SECONDS, Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.parked import ParkedAnswer
from shared.contracts.base import Payload, UnreadablePayload
from shared.contracts.events import MailReceived
from shared.contracts.topology import decode
from shared.core.delivery import DeliveryState
from shared.store import handling, parked, rounds
from shared.store.parked import SetAside

#: Puts a payload into a queue; whether the broker took it.
Publish = Callable[[str, Payload], Awaitable[bool]]

router = APIRouter(prefix="/parked", tags=["Parked"], route_class=CheckedRoute)


def publish_of(request: Request) -> Publish:
    return cast(Publish, request.app.state.publish)


@router.get("")
async def get_parked(database: Store, which: WhichPage) -> Page[ParkedAnswer]:
    """All that is set aside, the oldest first."""
    async with database.raw() as connection:
        found = await parked.page(connection, after_id=which.after_id or 0, limit=which.fetch)
    return which.page(found, _answer, lambda row: row.id)


@router.post("/{parked_id}/retry", status_code=202)
async def retry_parked(
    database: Store,
    publish: Annotated[Publish, Depends(publish_of)],
    parked_id: Annotated[int, Path(ge=1, le=MAX_ID, description="The number of what is parked.")],
) -> ParkedAnswer:
    """Send it again, now that the cause is gone: a delivery in a new round, a payload through its queue.

    When it comes back, it is parked anew, under a new number.
    """
    async with database.raw_transaction() as connection:
        found = await parked.get(connection, parked_id)
        if found is None:
            raise Problem(404, f"Nothing is parked under {parked_id}.")
        if found.delivery_id is not None and found.mailing_id is not None:
            if not await rounds.open_mailing(connection, found.mailing_id):
                raise Problem(
                    409, "Its mailing is being cancelled, its last moment has passed, or its content was purged."
                )
            if not await rounds.send_again(connection, [found.delivery_id], [DeliveryState.PARKED]):
                raise Problem(409, f"Nobody may mail {found.recipient}.")
        else:
            payload = _payload_of(found)
            if isinstance(payload, MailReceived):
                await handling.try_again(connection, UUID(payload.message_id))
            await _publish(publish, found.queue or "", payload)
        await parked.mark_retried(connection, parked_id)
    return _answer(found)


def _payload_of(found: SetAside) -> Payload:
    try:
        return decode(found.body or b"")
    except UnreadablePayload as error:
        raise Problem(409, f"This version of Listfleet cannot read the payload: {error}") from error


async def _publish(publish: Publish, queue: str, payload: Payload) -> None:
    if not await publish(queue, payload):
        raise Problem(
            503,
            "The broker cannot be reached now, or has no such queue. Nothing was lost; please try again.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )


def _answer(found: SetAside) -> ParkedAnswer:
    return ParkedAnswer(
        id=found.id,
        kind=found.kind,
        because=found.because,
        times=found.times,
        parked_at=found.parked_at,
        latest_at=found.latest_at,
        mailing_id=found.mailing_id,
        delivery_id=found.delivery_id,
        recipient=found.recipient,
        queue=found.queue,
        body=None if found.body is None else found.body.decode("utf-8", "replace"),
    )
