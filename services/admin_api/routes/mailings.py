"""Mailings, and stopping them. There is no way to say which node sends one: whichever has room does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Path

from services.admin_api.announcing import Announce, Announcing
from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.mailings import MailingAnswer, MailingChange, MailingDetail
from shared.contracts.events import MailingChanged
from shared.store import counts, lists, mailings, stops
from shared.store.engine import Database, Session
from shared.store.mailings import Mailing

router = APIRouter(prefix="/mailings", tags=["Mailings"], route_class=CheckedRoute)

MailingId = Annotated[int, Path(ge=1, le=MAX_ID, description="The mailing's number.")]


@router.get("")
async def get_mailings(database: Store, which: WhichPage) -> Page[MailingAnswer]:
    """All mailings, newest first."""
    async with database.snapshot() as session:
        found = await mailings.page(session, before_id=which.after_id, limit=which.fetch)
        addresses = await _list_addresses(session, found)
    return which.page(found, lambda row: _answer(row, addresses), lambda row: row.id)


@router.get("/{mailing_id}")
async def get_mailing(database: Store, mailing_id: MailingId) -> MailingDetail:
    """One mailing, and how far it is."""
    async with database.snapshot() as session:
        mailing = await mailing_at(session, mailing_id)
        ended = await counts.of_mailing(session, mailing_id)
        addresses = await _list_addresses(session, [mailing])
    return MailingDetail(
        **_answer(mailing, addresses).model_dump(),
        open=max(0, mailing.recipients - ended.ended),
        delivered=ended.delivered,
        refused=ended.refused,
        unknown=ended.unknown,
        expired=ended.expired,
        suppressed=ended.suppressed,
        cancelled=ended.cancelled,
        parked=ended.parked,
        recently_mailed=ended.recently_mailed,
    )


@router.patch("/{mailing_id}")
async def change_mailing(
    database: Store, mailing_id: MailingId, change: MailingChange, announce: Announcing, background: BackgroundTasks
) -> MailingDetail:
    """Set a mailing's last moment, in force within seconds."""
    if "not_after_at" in change.model_fields_set:
        async with database.raw() as connection:
            await stops.set_not_after(connection, mailing_id, change.not_after_at)
    return await _changed(database, mailing_id, announce, background)


@router.post("/{mailing_id}/pause")
async def pause_mailing(
    database: Store, mailing_id: MailingId, announce: Announcing, background: BackgroundTasks
) -> MailingDetail:
    """Let nothing more of the mailing start until it is resumed, within seconds. What is under way is finished."""
    async with database.raw() as connection:
        await stops.pause(connection, mailing_id)
    return await _changed(database, mailing_id, announce, background)


@router.post("/{mailing_id}/resume")
async def resume_mailing(
    database: Store, mailing_id: MailingId, announce: Announcing, background: BackgroundTasks
) -> MailingDetail:
    """Let a paused mailing go on."""
    async with database.raw() as connection:
        await stops.resume(connection, mailing_id)
    return await _changed(database, mailing_id, announce, background)


@router.post("/{mailing_id}/cancel")
async def cancel_mailing(
    database: Store, mailing_id: MailingId, announce: Announcing, background: BackgroundTasks
) -> MailingDetail:
    """Let nothing more of the mailing start, within seconds, and end what is open as cancelled.

    Members whose deliveries are not made yet get none. Transactions under way are finished, and count. A mailing that
    is finished stays as it is.
    """
    async with database.raw() as connection:
        await stops.cancel(connection, mailing_id)
    return await _changed(database, mailing_id, announce, background)


async def _changed(
    database: Database, mailing_id: int, announce: Announce, background: BackgroundTasks
) -> MailingDetail:
    detail = await get_mailing(database, mailing_id)
    background.add_task(announce, MailingChanged(mailing_id))
    return detail


async def mailing_at(session: Session, mailing_id: int) -> Mailing:
    """The mailing; `Problem` 404 when there is none."""
    found = await mailings.get(session, mailing_id)
    if found is None:
        raise Problem(404, f"There is no mailing {mailing_id}.")
    return found


async def _list_addresses(session: Session, found: Sequence[Mailing]) -> Mapping[int, str]:
    """The addresses of the mailings' lists, by the lists' ids."""
    list_ids = {mailing.list_id for mailing in found if mailing.list_id is not None}
    rows = [await lists.get(session, list_id) for list_id in list_ids]
    return {row.id: row.address for row in rows if row is not None}


def _answer(mailing: Mailing, addresses: Mapping[int, str]) -> MailingAnswer:
    return MailingAnswer(
        id=mailing.id,
        kind=mailing.kind,
        lane=mailing.lane,
        state=mailing.state,
        message_id=mailing.message_id,
        list=addresses.get(mailing.list_id) if mailing.list_id is not None else None,
        newsletter_id=mailing.newsletter_id,
        subject=mailing.subject,
        recipients=mailing.recipients,
        is_paused=mailing.is_paused,
        cancelled_at=mailing.cancelled_at,
        not_after_at=mailing.not_after_at,
        gives_up_at=mailing.gives_up_at,
        created_at=mailing.created_at,
        finished_at=mailing.finished_at,
    )
