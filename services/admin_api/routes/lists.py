"""Lists."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Response

from services.admin_api import digest_tasks
from services.admin_api.announcing import Announcing
from services.admin_api.checked_route import CheckedRoute, database_of
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.schemas.base import Page
from services.admin_api.schemas.lists import ListAnswer, ListChange, NewList
from services.admin_api.schemas.posting_rules import NewPostingRules
from shared.contracts.events import NodeSettingsChanged
from shared.core.address import Address, InvalidAddress
from shared.core.copies import ReplyToPolicy
from shared.core.list_address import list_address
from shared.store import lists
from shared.store.copies import CopyColumns
from shared.store.engine import Database, Session
from shared.store.lists import MailingList

router = APIRouter(prefix="/lists", tags=["Lists"], route_class=CheckedRoute)

Store = Annotated[Database, Depends(database_of)]
ListAddress = Annotated[str, Path(description="The list's posting address, in any spelling.")]


async def list_at(session: Session, address: str) -> MailingList:
    """The list with this posting address; `Problem` 404 when there is none."""
    try:
        name, _, domain = Address.parse(address).key.rpartition("@")
    except InvalidAddress:
        name, domain = "", ""
    found = await lists.find(session, name, domain) if name else None
    if found is None:
        raise Problem(404, f"There is no list {address}.")
    return found


@router.get("")
async def get_lists(database: Store, which: WhichPage) -> Page[ListAnswer]:
    """All lists, in the order they were made."""
    async with database.transaction() as session:
        found = await lists.page(session, after_id=which.after_id or 0, limit=which.fetch)
    return which.page(found, ListAnswer.model_validate, lambda row: row.id)


@router.post("", status_code=201)
async def make_list(database: Store, new: NewList, response: Response) -> ListAnswer:
    """Make a list; it takes mail at once. 409 when there is one with this address."""
    try:
        name, domain = list_address(new.name, new.domain)
    except InvalidAddress as error:
        # Told of at the name unless a good one fails the same way.
        part = "domain" if _is_name(new.name) else "name"
        wrong = {"pointer": f"#/{part}", "detail": str(error)}
        raise Problem(422, "The request is not well formed: see errors.", errors=[wrong]) from error
    if new.reply_to is ReplyToPolicy.ADDRESS and new.reply_to_address is None:
        raise _no_reply_to_address()
    async with database.transaction() as session:
        made = await lists.add(
            session,
            name=name,
            domain=domain,
            display_name=new.display_name,
            description=new.description,
            posting_policy=new.posting_policy,
            subscription_policy=new.subscription_policy,
            one_click_enabled=new.one_click_enabled,
            tracking=new.tracking,
            tracks_plain_text=new.tracks_plain_text,
            personal=new.personal,
            verp_enabled=new.verp_enabled,
            lane=new.lane,
            max_messages_per_hour=new.max_messages_per_hour,
            retry_schedule_seconds=new.retry_schedule_seconds,
            give_up_after_seconds=new.give_up_after_seconds,
            posting_rules=new.model_dump(include=set(NewPostingRules.model_fields)),
            dmarc_mitigation=new.dmarc_mitigation,
            copies=CopyColumns(
                subject_prefix=new.subject_prefix,
                header_text=new.header_text,
                footer_text=new.footer_text,
                reply_to=new.reply_to,
                reply_to_address=new.reply_to_address.wire if new.reply_to_address else None,
                keeps_authors_reply_to=new.keeps_authors_reply_to,
                anonymous=new.anonymous,
            ),
            bounce_limit=new.bounce_limit,
            bounce_quiet_days=new.bounce_quiet_days,
            digests_enabled=new.digests_enabled,
            digest_size_bytes=new.digest_size_bytes,
            removes_held_members=new.removes_held_members,
            recency_newsletters=new.recency_newsletters,
            recency_days=new.recency_days,
        )
        if made is not None and new.digests_enabled:
            await digest_tasks.make_task(session, made)
    if made is None:
        raise Problem(409, f"There is a list {name}@{domain} already.")
    response.headers["Location"] = f"/api/v1/lists/{made.address}"
    return ListAnswer.model_validate(made)


@router.get("/{address}")
async def get_list(database: Store, address: ListAddress) -> ListAnswer:
    """One list, by its posting address."""
    async with database.transaction() as session:
        return ListAnswer.model_validate(await list_at(session, address))


@router.patch("/{address}")
async def change_list(
    database: Store, address: ListAddress, change: ListChange, announce: Announcing, background: BackgroundTasks
) -> ListAnswer:
    """Change a list; the next post is judged by it. `max_messages_per_hour` is in force within 2 seconds, for what
    waits too. Where there was another rate before, its next 9 seconds are given out already."""
    async with database.transaction() as session:
        found = await list_at(session, address)
        for name in change.model_fields_set:
            value = getattr(change, name)
            setattr(found, name, value.wire if isinstance(value, Address) else value)
        if found.reply_to is ReplyToPolicy.ADDRESS and found.reply_to_address is None:
            raise _no_reply_to_address()
        if change.model_fields_set >= {"digests_enabled"} and change.digests_enabled:
            await digest_tasks.make_task(session, found)
        if "max_messages_per_hour" in change.model_fields_set:
            await lists.pace_anew(session, found)
            background.add_task(announce, NodeSettingsChanged())
    return ListAnswer.model_validate(found)


def _no_reply_to_address() -> Problem:
    wrong = {"pointer": "#/reply_to_address", "detail": "This is needed where reply_to is address."}
    return Problem(422, "The request is not well formed: see errors.", errors=[wrong])


def _is_name(name: str) -> bool:
    try:
        list_address(name, "example.org")
    except InvalidAddress:
        return False
    return True
