"""Requests to join that wait for the owners' decision, and invitations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Request

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import ListAddress, Store, list_at
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.subscription_requests import NewInvitation, Rejection, SubscriptionRequestAnswer
from shared.core.subscription import RequestAction, RequestSource, RequestState
from shared.runtime.consequences import Consequences
from shared.runtime.subscriptions import Subscriptions
from shared.store import subscription_requests
from shared.store.engine import Database, RawConnection

router = APIRouter(prefix="/lists/{address}", tags=["Subscriptions"], route_class=CheckedRoute)

#: Does what follows from a commit; never raises.
Follow = Callable[[Consequences], Awaitable[None]]


def subscriptions_of(request: Request) -> Subscriptions:
    """The steps that the application was made with."""
    return cast(Subscriptions, request.app.state.subscriptions)


def follow_of(request: Request) -> Follow:
    """What the application does after a commit."""
    return cast(Follow, request.app.state.follow)


Steps = Annotated[Subscriptions, Depends(subscriptions_of)]
Following = Annotated[Follow, Depends(follow_of)]
RequestId = Annotated[int, Path(ge=1, le=MAX_ID, description="The request's number.")]


@router.get("/subscription-requests")
async def get_subscription_requests(
    database: Store, address: ListAddress, which: WhichPage
) -> Page[SubscriptionRequestAnswer]:
    """Requests to join that wait for a decision, oldest first."""
    async with database.transaction() as session:
        mailing_list = await list_at(session, address)
        found = await subscription_requests.pending(
            session, mailing_list.id, after_id=which.after_id or 0, limit=which.fetch
        )
    return which.page(found, SubscriptionRequestAnswer.model_validate, lambda row: row.id)


@router.post("/subscription-requests/{request_id}/approve")
async def approve_subscription(
    database: Store,
    address: ListAddress,
    request_id: RequestId,
    steps: Steps,
    follow: Following,
    background: BackgroundTasks,
) -> SubscriptionRequestAnswer:
    """Let the address in; it is told. 409 when it was decided already."""
    list_id = await _list_id(database, address)
    async with database.raw_transaction() as connection:
        request = await _pending(connection, list_id, request_id)
        consequences = await steps.approve(connection, request)
    background.add_task(follow, consequences)
    return await _answer(database, request_id)


@router.post("/subscription-requests/{request_id}/reject")
async def reject_subscription(
    database: Store,
    address: ListAddress,
    request_id: RequestId,
    rejection: Rejection,
    steps: Steps,
    follow: Following,
    background: BackgroundTasks,
) -> SubscriptionRequestAnswer:
    """Do not let the address in; it is told, with the reason. 409 when it was decided already."""
    list_id = await _list_id(database, address)
    async with database.raw_transaction() as connection:
        request = await _pending(connection, list_id, request_id)
        consequences = await steps.reject(connection, request, rejection.reason)
    background.add_task(follow, consequences)
    return await _answer(database, request_id)


@router.post("/invitations", status_code=201)
async def invite(
    database: Store,
    address: ListAddress,
    new: NewInvitation,
    steps: Steps,
    follow: Following,
    background: BackgroundTasks,
) -> SubscriptionRequestAnswer:
    """Ask an address whether it wants to join, whatever the list's policy. The answer's state says what came of it:
    confirming, or dropped when it is a member already or was asked about this list within a day."""
    list_id = await _list_id(database, address)
    async with database.raw_transaction() as connection:
        request = await subscription_requests.add(
            connection, list_id, new.email, RequestAction.JOIN, RequestSource.INVITATION
        )
        consequences = await steps.begin(connection, request)
    background.add_task(follow, consequences)
    return await _answer(database, request.id)


async def _list_id(database: Database, address: str) -> int:
    async with database.transaction() as session:
        return (await list_at(session, address)).id


async def _pending(connection: RawConnection, list_id: int, request_id: int) -> subscription_requests.Request:
    request = await subscription_requests.take(connection, request_id)
    if request is None or request.list_id != list_id:
        raise Problem(404, f"The list has no request {request_id}.")
    if request.state is not RequestState.PENDING:
        raise Problem(409, f"The request does not wait for a decision: it is {request.state.value}.")
    return request


async def _answer(database: Database, request_id: int) -> SubscriptionRequestAnswer:
    async with database.transaction() as session:
        found = await session.get(subscription_requests.SubscriptionRequest, request_id)
        return SubscriptionRequestAnswer.model_validate(found)
