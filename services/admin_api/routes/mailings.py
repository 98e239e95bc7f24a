"""Mailings and their deliveries. There is no way to say which node sends one: whichever has room does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.mailings import AttemptAnswer, DeliveryAnswer, MailingAnswer, MailingDetail
from shared.core.delivery import DeliveryState
from shared.store import deliveries, lists, mailings
from shared.store.deliveries import Attempt, Delivery, Outstanding
from shared.store.engine import Session
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
        mailing = await _mailing_at(session, mailing_id)
        counts = await mailings.counts(session, mailing_id)
        addresses = await _list_addresses(session, [mailing])
    ended = mailing.suppressed + counts.delivered + counts.refused + counts.expired + counts.parked
    return MailingDetail(
        **_answer(mailing, addresses).model_dump(),
        open=max(0, mailing.recipients - ended),
        delivered=counts.delivered,
        refused=counts.refused,
        expired=counts.expired,
        parked=counts.parked,
    )


@router.get("/{mailing_id}/deliveries")
async def get_deliveries(
    database: Store,
    mailing_id: MailingId,
    which: WhichPage,
    state: Annotated[list[DeliveryState] | None, Query(description="Only those in one of these states.")] = None,
) -> Page[DeliveryAnswer]:
    """A mailing's deliveries by recipient, each with all its attempts and the remote's own words."""
    async with database.snapshot() as session:
        await _mailing_at(session, mailing_id)
        found = await deliveries.page(session, mailing_id, states=state or (), after_key=which.after, limit=which.fetch)
        attempts = await deliveries.attempts_of(session, found)
        outstanding = await deliveries.outstanding_of(session, found)
    return which.page(
        found,
        lambda row: _delivery(row, attempts.get(row.id, ()), outstanding.get(row.id)),
        lambda row: row.recipient_key,
    )


async def _mailing_at(session: Session, mailing_id: int) -> Mailing:
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
        subject=mailing.subject,
        recipients=mailing.recipients,
        suppressed=mailing.suppressed,
        created_at=mailing.created_at,
        finished_at=mailing.finished_at,
    )


def _delivery(delivery: Delivery, attempts: Sequence[Attempt], outstanding: Outstanding | None) -> DeliveryAnswer:
    return DeliveryAnswer(
        recipient=delivery.recipient,
        state=delivery.state,
        ended_at=delivery.ended_at,
        due_at=outstanding.due_at if outstanding else None,
        deaths=outstanding.deaths if outstanding else 0,
        attempts=[
            AttemptAnswer(
                round=attempt.round,
                attempt=attempt.attempt,
                node=attempt.node_name,
                outcome=attempt.outcome,
                because=attempt.because,
                reply_code=attempt.reply_code,
                reply_text=attempt.reply_text,
                remote_host=attempt.remote_host,
                ended_at=attempt.ended_at,
            )
            for attempt in attempts
        ],
    )
