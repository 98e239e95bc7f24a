"""Templates of newsletters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from services.admin_api.checked_route import WritingRoute
from services.admin_api.newsletter_texts import check_texts
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.newsletter_templates import NewTemplate, TemplateAnswer, TemplateChange, TemplateRow
from shared.store import newsletter_templates
from shared.store.engine import Session
from shared.store.newsletter_templates import NewsletterTemplate

router = APIRouter(prefix="/newsletter-templates", tags=["Newsletters"], route_class=WritingRoute)

TemplateId = Annotated[int, Path(ge=1, le=MAX_ID, description="The template's number.")]


@router.get("")
async def get_newsletter_templates(database: Store, which: WhichPage) -> Page[TemplateRow]:
    """All templates, in the order they were made."""
    async with database.transaction() as session:
        found = await newsletter_templates.page(session, after_id=which.after_id or 0, limit=which.fetch)
    return which.page(found, TemplateRow.model_validate, lambda row: row.id)


@router.post("", status_code=201)
async def make_newsletter_template(database: Store, new: NewTemplate, response: Response) -> TemplateAnswer:
    """Make a template. 409 when there is one of this name."""
    texts = new.model_dump()
    await check_texts(texts)
    async with database.transaction() as session:
        made = await newsletter_templates.add(session, texts)
        if made is None:
            raise _taken(new.name)
    response.headers["Location"] = f"/api/v1/newsletter-templates/{made.id}"
    return TemplateAnswer.model_validate(made)


@router.get("/{template_id}")
async def get_newsletter_template(database: Store, template_id: TemplateId) -> TemplateAnswer:
    """One template, with its texts."""
    async with database.transaction() as session:
        return TemplateAnswer.model_validate(await template_at(session, template_id))


@router.patch("/{template_id}")
async def change_newsletter_template(
    database: Store, template_id: TemplateId, change: TemplateChange
) -> TemplateAnswer:
    """Change a template; newsletters that were begun with it stay as they are."""
    given = change.model_dump(include=change.model_fields_set)
    await check_texts(given)
    async with database.transaction() as session:
        template = await template_at(session, template_id, for_change=True)
        if not await newsletter_templates.change(session, template, given):
            raise _taken(change.name)
        return TemplateAnswer.model_validate(template)


@router.delete("/{template_id}", status_code=204)
async def delete_newsletter_template(database: Store, template_id: TemplateId) -> None:
    """Forget a template; newsletters that were begun with it keep their texts."""
    async with database.transaction() as session:
        await session.delete(await template_at(session, template_id, for_change=True))


async def template_at(session: Session, template_id: int, *, for_change: bool = False) -> NewsletterTemplate:
    found = await newsletter_templates.get(session, template_id, for_change=for_change)
    if found is None:
        raise Problem(404, f"There is no newsletter template {template_id}.")
    return found


def _taken(name: str) -> Problem:
    return Problem(409, f"There is a newsletter template called {name} already.")
