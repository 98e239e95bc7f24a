"""Posts that wait for moderators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Query

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store, list_at
from services.admin_api.routes.subscription_requests import Follow, Following
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.held_posts import HeldPostAnswer, HeldPostDecision, HeldPostRejection, HeldPostText
from shared.core.held_post import HeldDecision
from shared.mail.excerpt import MAX_BYTES, excerpt
from shared.runtime import moderation
from shared.store import held_posts, messages
from shared.store.engine import Database
from shared.store.held_posts import Held

router = APIRouter(prefix="/held-posts", tags=["Held posts"], route_class=CheckedRoute)

HeldId = Annotated[int, Path(ge=1, le=MAX_ID, description="The held post's number.")]
_DECIDED_BY = "the API"


@router.get("")
async def get_held_posts(
    database: Store,
    which: WhichPage,
    list_address: Annotated[
        str, Query(alias="list", max_length=254, description="A list's posting address; absent for all lists.")
    ] = "",
    with_decided: Annotated[bool, Query(description="Whether those are shown, too, that were decided about.")] = False,
) -> Page[HeldPostAnswer]:
    """Posts that wait for moderators, the oldest first."""
    list_id: int | None = None
    if list_address:
        async with database.transaction() as session:
            list_id = (await list_at(session, list_address)).id
    async with database.raw() as connection:
        found = await held_posts.page(
            connection, list_id=list_id, with_decided=with_decided, after_id=which.after_id or 0, limit=which.fetch
        )
    return which.page(found, _answer, lambda row: row.id)


@router.get("/{held_id}")
async def get_held_post(database: Store, held_id: HeldId) -> HeldPostText:
    """One held post, and how its text begins."""
    async with database.raw() as connection:
        found = await held_posts.get(connection, held_id)
        if found is None:
            raise _unknown(held_id)
        content = await messages.beginning_of(connection, found.message_id, max_bytes=MAX_BYTES)
    return HeldPostText(**_fields(found), excerpt=excerpt(content))


@router.post("/{held_id}/approve")
async def approve_held_post(
    database: Store, held_id: HeldId, follow: Following, after: BackgroundTasks
) -> HeldPostDecision:
    """Let the members have it. 409 when it was decided about before."""
    return await _decide(database, held_id, HeldDecision.APPROVED, follow, after)


@router.post("/{held_id}/reject")
async def reject_held_post(
    database: Store, held_id: HeldId, rejection: HeldPostRejection, follow: Following, after: BackgroundTasks
) -> HeldPostDecision:
    """Reject it; the author is told why, if SPF or DKIM shows who that is. 409 when it was decided about before."""
    return await _decide(database, held_id, HeldDecision.REJECTED, follow, after, rejection.reason)


@router.post("/{held_id}/discard")
async def discard_held_post(
    database: Store, held_id: HeldId, follow: Following, after: BackgroundTasks
) -> HeldPostDecision:
    """Put it away, and tell nobody. 409 when it was decided about before."""
    return await _decide(database, held_id, HeldDecision.DISCARDED, follow, after)


@router.post("/{held_id}/ban")
async def ban_held_author(
    database: Store, held_id: HeldId, follow: Following, after: BackgroundTasks
) -> HeldPostDecision:
    """Put it away, and refuse whatever else comes to the list from its author, whose address joins the list's `banned`.

    That address may be forged: look at `is_author_proven`. 409 when it was decided about before.
    """
    return await _decide(database, held_id, HeldDecision.BANNED, follow, after)


async def _decide(
    database: Database,
    held_id: int,
    decision: HeldDecision,
    follow: Follow,
    after: BackgroundTasks,
    reason: str = "",
) -> HeldPostDecision:
    async with database.raw_transaction() as connection:
        decided = await moderation.decide(connection, held_id, decision, decided_by=_DECIDED_BY, reason=reason)
        if decided is None:
            found = await held_posts.get(connection, held_id)
            if found is None or found.decision is None:
                raise _unknown(held_id)
            raise Problem(409, f"Held post {held_id} was decided about before: {found.decision.value}.")
    after.add_task(follow, decided.consequences)
    return HeldPostDecision(**_fields(decided.held), is_author_told=decided.is_author_told)


def _unknown(held_id: int) -> Problem:
    return Problem(404, f"There is no held post {held_id}.")


def _fields(held: Held) -> dict[str, Any]:
    return {**asdict(held), "list": held.list_address}


def _answer(held: Held) -> HeldPostAnswer:
    return HeldPostAnswer(**_fields(held))
