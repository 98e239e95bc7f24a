"""Segments: whom a newsletter would go to."""

from __future__ import annotations

from fastapi import APIRouter

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem, wrong_part
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.segments import AudienceAnswer, AudienceBody
from shared.core.segment.parsing import parse
from shared.store import audiences, lists
from shared.store.audiences import Audience

router = APIRouter(prefix="/segments", tags=["Newsletters"], route_class=CheckedRoute)


@router.post("/count")
async def count_members(database: Store, asked: AudienceBody) -> AudienceAnswer:
    """How many addresses a newsletter would go to now: subscribed members of the lists whose delivery mode is not
    nomail, in the segment, and not suppressed. Nothing is changed. 422 when it takes more than 20 seconds."""
    async with database.raw_transaction() as connection:
        list_ids = []
        for place, address in enumerate(asked.lists):
            name, _, domain = address.key.rpartition("@")
            list_id = await lists.id_of(connection, name, domain)
            if list_id is None:
                wrong = wrong_part(["body", "lists", place], f"There is no list {address}.")
                raise Problem(422, "The request is not well formed: see errors.", errors=[wrong])
            list_ids.append(list_id)
        segment = None if asked.segment is None else parse(asked.segment)
        counted = await audiences.count(connection, Audience(list_ids, segment, asked.unopened_of_mailing))
    if counted is None:
        raise Problem(422, f"This takes more than {audiences.COUNT_SECONDS} seconds to count; ask less of the members.")
    return AudienceAnswer(members=counted.addresses, sample=list(counted.sample))
