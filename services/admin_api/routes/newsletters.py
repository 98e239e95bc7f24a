"""Newsletters: writing them. There is no way to say which node sends one: whichever has room does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from services.admin_api.checked_route import WritingRoute
from services.admin_api.newsletter_texts import check_texts
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.routes.tasks import run_answer
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.newsletter_life import ScheduleAnswer, SendingAnswer
from services.admin_api.schemas.newsletters import NewNewsletter, NewsletterAnswer, NewsletterChange, NewsletterRow
from shared.core.address import Address
from shared.core.mailing import MailingKind
from shared.core.newsletter import NewsletterState
from shared.store import lists, mailings, newsletter_life, newsletter_templates, newsletters
from shared.store.engine import Session
from shared.store.newsletter_life import Standing, sending_of
from shared.store.newsletters import Newsletter

router = APIRouter(prefix="/newsletters", tags=["Newsletters"], route_class=WritingRoute)

NewsletterId = Annotated[int, Path(ge=1, le=MAX_ID, description="The newsletter's number.")]

_TEXTS = ("subject", "preheader", "text", "html")
#: Those that readers never see, and nothing depends on.
_NOT_SENT = frozenset({"name"})
_EDITABLE = frozenset({NewsletterState.DRAFT, NewsletterState.APPROVED, NewsletterState.SCHEDULED})


@router.get("")
async def get_newsletters(database: Store, which: WhichPage) -> Page[NewsletterRow]:
    """All newsletters, newest first."""
    async with database.snapshot() as session:
        found = await newsletters.page(session, before_id=which.after_id, limit=which.fetch)
        addresses = await newsletters.addresses_of_lists(session, [each for row in found for each in row.list_ids])
        standings = await newsletter_life.standings(session, found, shown_mailings=1)
    return which.page(found, lambda row: NewsletterRow(**_row(row, addresses, standings[row.id])), lambda row: row.id)


@router.post("", status_code=201)
async def make_newsletter(database: Store, new: NewNewsletter, response: Response) -> NewsletterAnswer:
    """Make a newsletter, as a draft. Nothing is sent before it is approved, and scheduled or started."""
    given = new.model_dump(include=new.model_fields_set & set(_TEXTS))
    await check_texts(given)
    async with database.transaction() as session:
        texts = await _of_template(session, new.template_id)
        newsletter = Newsletter(
            name=new.name,
            state=NewsletterState.DRAFT,
            list_ids=await _list_ids(session, new.lists),
            segment=new.segment,
            unopened_of_mailing_id=await _mailing_id(session, new.unopened_of_mailing_id),
            from_name=new.from_name,
            from_address=_wire(new.from_address),
            reply_to_address=_wire(new.reply_to_address),
            template_id=new.template_id,
            not_after_at=new.not_after_at,
            **texts | given,
        )
        session.add(newsletter)
        await session.flush()
        await session.refresh(newsletter)
        response.headers["Location"] = f"/api/v1/newsletters/{newsletter.id}"
        return await answer(session, newsletter)


@router.get("/{newsletter_id}")
async def get_newsletter(database: Store, newsletter_id: NewsletterId) -> NewsletterAnswer:
    """One newsletter, with its texts."""
    async with database.snapshot() as session:
        return await answer(session, await newsletter_at(session, newsletter_id))


@router.patch("/{newsletter_id}")
async def change_newsletter(database: Store, newsletter_id: NewsletterId, change: NewsletterChange) -> NewsletterAnswer:
    """Change a newsletter. One that was approved or scheduled is a draft then, and is not sent before it is approved
    again. 409 when it has started or was cancelled."""
    given: dict[str, Any] = {name: getattr(change, name) for name in change.model_fields_set}
    await check_texts({name: value for name, value in given.items() if name in _TEXTS})
    async with database.transaction() as session:
        if given.keys() <= _NOT_SENT:
            newsletter = await newsletter_at(session, newsletter_id, for_change=True)
        else:
            newsletter = await to_edit(session, newsletter_id)
        if "lists" in given:
            given["list_ids"] = await _list_ids(session, given.pop("lists"))
        if "unopened_of_mailing_id" in given:
            await _mailing_id(session, change.unopened_of_mailing_id)
        for name in given.keys() & {"from_address", "reply_to_address"}:
            given[name] = _wire(given[name])
        for name, value in given.items():
            setattr(newsletter, name, value)
        if given.keys() - _NOT_SENT:
            await newsletters.mark_edited(session, newsletter)
        return await answer(session, newsletter)


@router.delete("/{newsletter_id}", status_code=204)
async def delete_newsletter(database: Store, newsletter_id: NewsletterId) -> None:
    """Forget a draft and its attachments. 409 for what is no draft, or was one again after it was sent."""
    async with database.transaction() as session:
        newsletter = await newsletter_at(session, newsletter_id, for_change=True)
        if newsletter.state is not NewsletterState.DRAFT:
            raise Problem(409, f"The newsletter is {newsletter.state}: only a draft can be deleted.")
        if await newsletters.has_been_sent(session, newsletter_id):
            raise Problem(409, "Mailings were made of the newsletter: it cannot be deleted.")
        await session.delete(newsletter)


async def newsletter_at(session: Session, newsletter_id: int, *, for_change: bool = False) -> Newsletter:
    """The newsletter; `Problem` 404 when there is none."""
    found = await newsletters.get(session, newsletter_id, for_change=for_change)
    if found is None:
        raise Problem(404, f"There is no newsletter {newsletter_id}.")
    return found


async def to_edit(session: Session, newsletter_id: int) -> Newsletter:
    """The newsletter, locked and without its task; `Problem` 409 when it has started or was cancelled."""
    newsletter = await newsletter_life.unscheduled(session, newsletter_id)
    if newsletter is None:
        raise Problem(404, f"There is no newsletter {newsletter_id}.")
    if newsletter.state not in _EDITABLE:
        raise Problem(409, f"The newsletter is {newsletter.state}, and is changed no more.")
    return newsletter


async def _list_ids(session: Session, addresses: Sequence[Address]) -> list[int]:
    """The lists, each once, in the order given."""
    ids: list[int] = []
    errors = []
    for number, address in enumerate(addresses):
        name, _, domain = address.key.rpartition("@")
        found = await lists.find(session, name, domain)
        if found is None:
            errors.append({"pointer": f"#/lists/{number}", "detail": f"There is no list {address}."})
        elif found.id not in ids:
            ids.append(found.id)
    if errors:
        raise _malformed(errors)
    return ids


async def _mailing_id(session: Session, mailing_id: int | None) -> int | None:
    mailing = None if mailing_id is None else await mailings.get(session, mailing_id)
    if mailing_id is not None and (mailing is None or mailing.kind is not MailingKind.NEWSLETTER):
        detail = f"There is no mailing {mailing_id} of a newsletter."
        raise _malformed([{"pointer": "#/unopened_of_mailing_id", "detail": detail}])
    return mailing_id


async def _of_template(session: Session, template_id: int | None) -> dict[str, str]:
    if template_id is None:
        return dict.fromkeys(_TEXTS, "")
    template = await newsletter_templates.get(session, template_id)
    if template is None:
        detail = f"There is no newsletter template {template_id}."
        raise _malformed([{"pointer": "#/template_id", "detail": detail}])
    return {name: getattr(template, name) for name in _TEXTS}


def _malformed(errors: Sequence[Mapping[str, str]]) -> Problem:
    return Problem(422, "The request is not well formed: see errors.", errors=errors)


def _wire(address: Address | None) -> str | None:
    return None if address is None else address.wire


async def answer(session: Session, newsletter: Newsletter) -> NewsletterAnswer:
    """The newsletter, its schedule, and its mailings."""
    addresses = await newsletters.addresses_of_lists(session, newsletter.list_ids)
    standing = (await newsletter_life.standings(session, [newsletter]))[newsletter.id]
    return NewsletterAnswer(
        **_row(newsletter, addresses, standing),
        segment=newsletter.segment,
        unopened_of_mailing_id=newsletter.unopened_of_mailing_id,
        template_id=newsletter.template_id,
        from_name=newsletter.from_name,
        from_address=newsletter.from_address,
        reply_to_address=newsletter.reply_to_address,
        preheader=newsletter.preheader,
        text=newsletter.text,
        html=newsletter.html,
        not_after_at=newsletter.not_after_at,
        schedule=_schedule(standing),
        mailings=[
            SendingAnswer(
                mailing_id=mailing.id,
                state=sending_of(mailing).stage,
                occurrence_at=mailing.occurrence_at,
                recipients=mailing.recipients,
            )
            for mailing in standing.mailings
        ],
    )


def _schedule(standing: Standing) -> ScheduleAnswer | None:
    task = standing.task
    if task is None:
        return None
    return ScheduleAnswer(
        task_id=task.id,
        at=task.at,
        cron=task.cron,
        time_zone=task.time_zone,
        missed=task.missed,
        not_after_seconds=task.parameters.get("not_after_seconds"),
        next_due_at=task.next_due_at,
        latest_run=run_answer(standing.latest_run) if standing.latest_run is not None else None,
    )


def _row(newsletter: Newsletter, addresses: Mapping[int, str], standing: Standing) -> dict[str, Any]:
    return {
        "id": newsletter.id,
        "name": newsletter.name,
        "state": standing.stage,
        "lists": [addresses[list_id] for list_id in newsletter.list_ids if list_id in addresses],
        "subject": newsletter.subject,
        "created_at": newsletter.created_at,
        "updated_at": newsletter.updated_at,
        "approved_at": newsletter.approved_at,
    }
