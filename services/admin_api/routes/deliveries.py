"""A mailing's deliveries: looked at, sent again, cancelled; one, those that meet a filter, or all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query

from services.admin_api.announcing import Announce, Announcing
from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.routes.mailings import MailingId, mailing_at
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.deliveries import (
    AttemptAnswer,
    ChangedDeliveries,
    DeliveryAnswer,
    Domain,
    ReplyBeginning,
    RetryOne,
    WhichDeliveries,
    WhichToRetry,
)
from shared.contracts.events import DeliveriesCancelled
from shared.core.bounce import BounceClass
from shared.core.delivery import ENDED, DeliveryState, OutcomeKind
from shared.store import choosing, deliveries, endings, rounds
from shared.store.choosing import Choice
from shared.store.deliveries import Attempt, Delivery, Outstanding
from shared.store.engine import Database

router = APIRouter(prefix="/mailings", tags=["Deliveries"], route_class=CheckedRoute)

DeliveryId = Annotated[int, Path(ge=1, le=MAX_ID, description="The delivery's number.")]


def _filtered(
    state: Annotated[list[DeliveryState] | None, Query(description="Only those in one of these states.")] = None,
    domain: Annotated[Domain | None, Query(description="Only those to this domain.")] = None,
    outcome: Annotated[OutcomeKind | None, Query(description="Only those whose last attempt came to this.")] = None,
    reply: Annotated[
        ReplyBeginning | None,
        Query(description="Only those whose last reply begins so: `550`, `4`; or its enhanced status: `5.1.1`, `5.7`."),
    ] = None,
    bounce_class: Annotated[
        BounceClass | None,
        Query(description="Only those that bounced for this reason, in our session or by a report that came back."),
    ] = None,
) -> Choice:
    states = state or list(DeliveryState)
    return Choice(states, domain=domain, outcome=outcome, reply=reply, bounce_class=bounce_class)


#: Which deliveries a request for them means.
Filtered = Annotated[Choice, Depends(_filtered)]


@router.get("/{mailing_id}/deliveries")
async def get_deliveries(
    database: Store, mailing_id: MailingId, which: WhichPage, choice: Filtered
) -> Page[DeliveryAnswer]:
    """A mailing's deliveries by recipient, each with all its attempts and the remote's own words.

    With a filter, a page looks at 20,000 deliveries at most: it may hold fewer than `limit`, or none, and a `next`.
    """
    async with database.raw() as connection:
        chosen = await choosing.page(connection, mailing_id, choice, which.after, limit=which.limit)
    async with database.snapshot() as session:
        mailing = await mailing_at(session, mailing_id)
        found = await deliveries.named(session, chosen.delivery_ids, mailing.created_at)
        attempts = await deliveries.attempts_of(session, found)
        outstanding = await deliveries.outstanding_of(session, found)
    items = [_delivery(row, attempts.get(row.id, ()), outstanding.get(row.id)) for row in found]
    return Page(items=items, next=chosen.next_key)


@router.post("/{mailing_id}/deliveries/retry")
async def retry_deliveries(
    database: Store, mailing_id: MailingId, which: WhichToRetry | None = None
) -> ChangedDeliveries:
    """Send deliveries again: without a filter, all of the mailing that were not delivered.

    One that has ended gets a new round, with new attempts; one that waits for its next attempt is tried now; one that
    a node has at this moment is left alone. An address that nobody may mail is not sent to. 409 while the mailing is
    being cancelled, and after its `not_after_at`.
    """
    which = which or WhichToRetry()
    choice = _choice(which, which.state)
    return ChangedDeliveries(deliveries=await _send_again(database, mailing_id, choice))


@router.post("/{mailing_id}/deliveries/cancel")
async def cancel_deliveries(
    database: Store,
    mailing_id: MailingId,
    announce: Announcing,
    background: BackgroundTasks,
    which: WhichDeliveries | None = None,
) -> ChangedDeliveries:
    """Cancel the open deliveries that meet a filter. Transactions under way are finished, and count.

    To end the whole mailing, cancel the mailing: then no more deliveries are made either.
    """
    which = which or WhichDeliveries()
    choice = _choice(which, [DeliveryState.OPEN])
    return ChangedDeliveries(deliveries=await _cancel(database, mailing_id, choice, announce, background))


@router.post("/{mailing_id}/deliveries/{delivery_id}/retry")
async def retry_delivery(
    database: Store, mailing_id: MailingId, delivery_id: DeliveryId, how: RetryOne | None = None
) -> ChangedDeliveries:
    """Send one delivery again, as with many. 409 when it is delivered, unless that is said to be meant."""
    delivery = await _delivery_at(database, mailing_id, delivery_id)
    if delivery.state is DeliveryState.DELIVERED and not (how and how.even_delivered):
        raise Problem(409, "It is delivered. To send it again all the same, set even_delivered.")
    choice = Choice(list(DeliveryState), delivery_id=delivery_id)
    changed = await _send_again(database, mailing_id, choice)
    if not changed and delivery.state in ENDED:
        raise Problem(409, f"Nobody may mail {delivery.recipient}.")
    return ChangedDeliveries(deliveries=changed)


@router.post("/{mailing_id}/deliveries/{delivery_id}/cancel")
async def cancel_delivery(
    database: Store, mailing_id: MailingId, delivery_id: DeliveryId, announce: Announcing, background: BackgroundTasks
) -> ChangedDeliveries:
    """Cancel one delivery. 409 when it has ended."""
    delivery = await _delivery_at(database, mailing_id, delivery_id)
    if delivery.state in ENDED:
        raise Problem(409, f"It has ended: {delivery.state.value}.")
    choice = Choice([DeliveryState.OPEN], delivery_id=delivery_id)
    return ChangedDeliveries(deliveries=await _cancel(database, mailing_id, choice, announce, background))


def _choice(which: WhichDeliveries, states: Sequence[DeliveryState]) -> Choice:
    return Choice(
        states, domain=which.domain, outcome=which.outcome, reply=which.reply, bounce_class=which.bounce_class
    )


async def _send_again(database: Database, mailing_id: int, choice: Choice) -> int:
    """Page by page, each in a transaction of its own; to be repeated when it was cut off."""
    async with database.transaction() as session:
        await mailing_at(session, mailing_id)
    count, next_key = 0, ""
    while True:
        async with database.raw_transaction() as connection:
            if not await rounds.open_mailing(connection, mailing_id):
                raise Problem(
                    409, "The mailing is being cancelled, its last moment has passed, or its content was purged."
                )
            chosen = await choosing.choose(connection, mailing_id, choice, next_key)
            if chosen.delivery_ids:
                count += await rounds.send_again(connection, chosen.delivery_ids, choice.states)
        if chosen.next_key is None:
            return count
        next_key = chosen.next_key


async def _cancel(
    database: Database, mailing_id: int, choice: Choice, announce: Announce, background: BackgroundTasks
) -> int:
    async with database.transaction() as session:
        await mailing_at(session, mailing_id)
    count, next_key = 0, ""
    while True:
        async with database.raw() as connection:
            chosen = await choosing.choose(connection, mailing_id, choice, next_key)
            if chosen.delivery_ids:
                cancelled, in_batches = await rounds.cancel(connection, chosen.delivery_ids)
                await endings.end_cancelled(connection)
                count += cancelled
                for batch_id, delivery_ids in in_batches.items():
                    background.add_task(announce, DeliveriesCancelled(batch_id, delivery_ids))
        if chosen.next_key is None:
            return count
        next_key = chosen.next_key


async def _delivery_at(database: Database, mailing_id: int, delivery_id: int) -> Delivery:
    async with database.transaction() as session:
        mailing = await mailing_at(session, mailing_id)
        found = await deliveries.get(session, delivery_id, mailing.created_at)
    if found is None or found.mailing_id != mailing_id:
        raise Problem(404, f"Mailing {mailing_id} has no delivery {delivery_id}.")
    return found


def _delivery(delivery: Delivery, attempts: Sequence[Attempt], outstanding: Outstanding | None) -> DeliveryAnswer:
    return DeliveryAnswer(
        id=delivery.id,
        recipient=delivery.recipient,
        state=delivery.state,
        round=delivery.round,
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
