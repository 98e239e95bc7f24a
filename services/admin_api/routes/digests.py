"""Digests of a list."""

from __future__ import annotations

from fastapi import APIRouter

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.routes.lists import ListAddress, Store, list_at
from services.admin_api.schemas.base import Page
from services.admin_api.schemas.digests import DigestAnswer
from shared.store import digests

router = APIRouter(prefix="/lists/{address}/digests", tags=["Digests"], route_class=CheckedRoute)


@router.get("")
async def get_digests(database: Store, address: ListAddress, which: WhichPage) -> Page[DigestAnswer]:
    """A list's digests, newest first: the one that is being collected, and those that were sent. A run of the list's
    task of the kind digest sends what is collected now."""
    async with database.transaction() as session:
        list_id = (await list_at(session, address)).id
    async with database.raw() as connection:
        found = await digests.page(connection, list_id, before_id=which.after_id, limit=which.fetch)
    return which.page(found, DigestAnswer.model_validate, lambda row: row.id)
