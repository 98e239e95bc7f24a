"""Members of a list."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Path

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import ListAddress, Store, list_at
from services.admin_api.routes.subscription_requests import Following
from services.admin_api.schemas.base import Page
from services.admin_api.schemas.members import BounceAnswer, MemberAnswer, MemberChange
from shared.core.address import Address, InvalidAddress
from shared.core.membership import DeliveryMode, MemberStatus
from shared.runtime.consequences import Consequences
from shared.store import bounces, members, suppressions
from shared.store.engine import Session
from shared.store.members import Member
from shared.transfer.member import NewMemberBody

router = APIRouter(prefix="/lists/{address}/members", tags=["Members"], route_class=CheckedRoute)

MemberAddress = Annotated[str, Path(description="The mail address, in any spelling.")]


@router.get("")
async def get_members(database: Store, address: ListAddress, which: WhichPage) -> Page[MemberAnswer]:
    """A list's members of every status, in the order they were added."""
    async with database.transaction() as session:
        mailing_list = await list_at(session, address)
        found = await members.page(session, mailing_list.id, after_id=which.after_id or 0, limit=which.fetch)
    return which.page(found, MemberAnswer.model_validate, lambda row: row.id)


@router.post("", status_code=201)
async def add_member(database: Store, address: ListAddress, new: NewMemberBody) -> MemberAnswer:
    """Add a member. 409 when the address is on the list, also as one who left, or when nobody may mail it."""
    async with database.transaction() as session:
        mailing_list = await list_at(session, address)
        suppressed = await suppressions.find(session, new.email.key)
        if suppressed is not None:
            raise Problem(409, f"Nobody may mail {new.email}: it is suppressed ({suppressed.reason.value}).")
        added = await members.add(session, mailing_list.id, new.row())
        if added is None:
            known = await members.find(session, mailing_list.id, new.email.key)
            status = known.status.value if known else "gone"
            raise Problem(409, f"{new.email} is on the list already, {status}; PATCH changes a member.")
    return MemberAnswer.model_validate(added)


@router.get("/{email:path}/bounces")
async def get_bounces(
    database: Store, address: ListAddress, email: MemberAddress, which: WhichPage
) -> Page[BounceAnswer]:
    """What was reported of a member's deliveries, the oldest first; of a delivery, each kind once."""
    async with database.transaction() as session:
        member = await _member_at(session, address, email)
        found = await bounces.history(session, member.id, after_id=which.after_id or 0, limit=which.fetch)
    return which.page(found, BounceAnswer.model_validate, lambda row: row.id)


@router.get("/{email:path}")
async def get_member(database: Store, address: ListAddress, email: MemberAddress) -> MemberAnswer:
    """One member, by the address in any spelling."""
    async with database.transaction() as session:
        return MemberAnswer.model_validate(await _member_at(session, address, email))


@router.patch("/{email:path}")
async def change_member(
    database: Store,
    address: ListAddress,
    email: MemberAddress,
    change: MemberChange,
    follow: Following,
    background: BackgroundTasks,
) -> MemberAnswer:
    """Change a member. Setting the status is the one way to make a subscriber of somebody who left or is held; whoever
    becomes one has no bounces that count. Whoever is set to unsubscribed gets nothing more within seconds, also of
    mailings under way."""
    async with database.transaction() as session:
        member = await _member_at(session, address, email)
        if member.delivery_mode is DeliveryMode.DIGEST and change.delivery_mode not in (None, DeliveryMode.DIGEST):
            await members.note_that_digests_end(session, member)
        for name in change.model_fields_set:
            setattr(member, name, getattr(change, name))
        if change.model_fields_set >= {"status"} and change.status is MemberStatus.SUBSCRIBED:
            member.let_in()
    if change.status is MemberStatus.UNSUBSCRIBED:
        background.add_task(follow, Consequences(left=(member.id,)))
    return MemberAnswer.model_validate(member)


@router.delete("/{email:path}", status_code=204)
async def remove_member(
    database: Store, address: ListAddress, email: MemberAddress, follow: Following, background: BackgroundTasks
) -> None:
    """Remove a member: the address is kept as unsubscribed, so that no import brings it back. It gets nothing more
    within seconds, also of mailings under way."""
    async with database.transaction() as session:
        member = await _member_at(session, address, email)
        member.status = MemberStatus.UNSUBSCRIBED
    background.add_task(follow, Consequences(left=(member.id,)))


async def _member_at(session: Session, address: str, email: str) -> Member:
    mailing_list = await list_at(session, address)
    try:
        found = await members.find(session, mailing_list.id, Address.parse(email).key)
    except InvalidAddress:
        found = None
    if found is None:
        raise Problem(404, f"{email} is not on the list {mailing_list.address}.")
    return found
