"""Templates of notices: what the system's own mails say, at one list or at all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import ListAddress, Store, list_at
from services.admin_api.schemas.notice_templates import NewNoticeTemplate, NoticeTemplateAnswer
from shared.mail.notice_kinds import DEFAULTS, NoticeKind
from shared.mail.notices import NoticeText
from shared.store import notice_templates
from shared.store.engine import Session
from shared.store.notice_templates import NoticeTemplate

router = APIRouter(tags=["Templates"], route_class=CheckedRoute)

#: How a template for all lists is named where a list's address stands for others.
EVERYWHERE = "*"

Name = Annotated[NoticeKind, Path(description="The notice.")]


@router.get("/templates")
async def get_templates(database: Store) -> list[NoticeTemplateAnswer]:
    """What every notice says at lists that have no template of their own."""
    async with database.transaction() as session:
        return await _all(session, None, None)


@router.get("/templates/{name}")
async def get_template(database: Store, name: Name) -> NoticeTemplateAnswer:
    """What the notice says at lists that have no template of their own."""
    async with database.transaction() as session:
        return await _one(session, None, None, name)


@router.put("/templates/{name}")
async def set_template(database: Store, name: Name, new: NewNoticeTemplate) -> NoticeTemplateAnswer:
    """Write the notice anew for all lists that have no template of their own."""
    _check(name, new)
    async with database.transaction() as session:
        await notice_templates.put(session, None, name.value, subject=new.subject, body=new.body)
        return await _one(session, None, None, name)


@router.delete("/templates/{name}", status_code=204)
async def remove_template(database: Store, name: Name) -> None:
    """Let the notice say again what comes with Listfleet."""
    async with database.transaction() as session:
        if not await notice_templates.remove(session, None, name.value):
            raise Problem(404, f"Nobody wrote a template {name.value} for all lists.")


@router.get("/lists/{address}/templates")
async def get_list_templates(database: Store, address: ListAddress) -> list[NoticeTemplateAnswer]:
    """What every notice says at this list, and where that was written."""
    async with database.transaction() as session:
        found = await list_at(session, address)
        return await _all(session, found.id, found.address)


@router.get("/lists/{address}/templates/{name}")
async def get_list_template(database: Store, address: ListAddress, name: Name) -> NoticeTemplateAnswer:
    """What the notice says at this list, and where that was written."""
    async with database.transaction() as session:
        found = await list_at(session, address)
        return await _one(session, found.id, found.address, name)


@router.put("/lists/{address}/templates/{name}")
async def set_list_template(
    database: Store, address: ListAddress, name: Name, new: NewNoticeTemplate
) -> NoticeTemplateAnswer:
    """Write the notice anew for this list; the next one says it."""
    _check(name, new)
    async with database.transaction() as session:
        found = await list_at(session, address)
        await notice_templates.put(session, found.id, name.value, subject=new.subject, body=new.body)
        return await _one(session, found.id, found.address, name)


@router.delete("/lists/{address}/templates/{name}", status_code=204)
async def remove_list_template(database: Store, address: ListAddress, name: Name) -> None:
    """Let the notice say at this list what it says at all others."""
    async with database.transaction() as session:
        found = await list_at(session, address)
        if not await notice_templates.remove(session, found.id, name.value):
            raise Problem(404, f"Nobody wrote a template {name.value} for {found.address}.")


def _check(name: NoticeKind, new: NewNoticeTemplate) -> None:
    """`Problem` 422 for a placeholder that the notice does not have, or without one that it needs."""
    default = DEFAULTS[name]
    used = NoticeText(new.subject, new.body).placeholders()
    errors = [
        {"pointer": "#/body", "detail": f"{{{{{unknown}}}}} is none of this notice's placeholders."}
        for unknown in sorted(used - default.placeholders)
    ]
    if default.needs_one_of and not used & default.needs_one_of:
        needed = " or ".join(f"{{{{{one}}}}}" for one in sorted(default.needs_one_of))
        errors.append({"pointer": "#/body", "detail": f"This notice is of no use without {needed}."})
    if errors:
        raise Problem(422, "The request is not well formed: see errors.", errors=errors)


async def _all(session: Session, list_id: int | None, address: str | None) -> list[NoticeTemplateAnswer]:
    everywhere = {row.name: row for row in await notice_templates.of_list(session, None)}
    own = {row.name: row for row in await notice_templates.of_list(session, list_id)} if list_id else {}
    return [_answer(kind, own.get(kind.value), everywhere.get(kind.value), address) for kind in NoticeKind]


async def _one(session: Session, list_id: int | None, address: str | None, name: NoticeKind) -> NoticeTemplateAnswer:
    return next(answer for answer in await _all(session, list_id, address) if answer.name is name)


def _answer(
    kind: NoticeKind, own: NoticeTemplate | None, everywhere: NoticeTemplate | None, address: str | None
) -> NoticeTemplateAnswer:
    default = DEFAULTS[kind]
    written = own or everywhere
    return NoticeTemplateAnswer(
        name=kind,
        subject=written.subject if written else default.text.subject,
        body=written.body if written else default.text.body,
        placeholders=sorted(default.placeholders),
        written_for=address if own else EVERYWHERE if everywhere else None,
        updated_at=written.updated_at if written else None,
    )
