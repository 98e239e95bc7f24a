"""Limits of recipient domains, for all nodes together. A change is a row first; then the nodes are told to look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Path

from services.admin_api.announcing import Announcing
from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.domain_limits import DomainLimitAnswer, DomainLimitSettings
from shared.contracts.events import NodeSettingsChanged
from shared.core.domain_limit import InvalidPattern, normalised
from shared.store import domain_limits
from shared.store.domain_limits import DomainLimit
from shared.store.engine import Session

router = APIRouter(prefix="/domain-limits", tags=["Domain limits"], route_class=CheckedRoute)

Pattern = Annotated[
    str, Path(max_length=300, description="`example.com`, `*.example.com`, `mx:mx1.example.net` or `mx:*.example.net`.")
]


@router.get("")
async def get_domain_limits(database: Store) -> list[DomainLimitAnswer]:
    """All limits of recipient domains, by pattern: those that were set, and those of domains that refused for volume
    and are slowed down, with why."""
    async with database.transaction() as session:
        in_use = await domain_limits.connections_in_use(session)
        return [_answer(limit, in_use.get(limit.pattern, 0)) for limit in await domain_limits.all_limits(session)]


@router.get("/{pattern}")
async def get_domain_limit(database: Store, pattern: Pattern) -> DomainLimitAnswer:
    """One pattern's limit."""
    async with database.transaction() as session:
        return await _limit_at(session, pattern)


@router.put("/{pattern}")
async def set_domain_limit(
    database: Store, pattern: Pattern, limit: DomainLimitSettings, announce: Announcing, background: BackgroundTasks
) -> DomainLimitAnswer:
    """Limit what all nodes together do towards the pattern's domains, in force within 2 seconds, in the place of what
    was set before. Mail that waits for its turn holds up nobody else's. Where there was another rate before, its next 9
    seconds are given out already."""
    try:
        normal = normalised(pattern)
    except InvalidPattern as error:
        raise Problem(422, str(error)) from error
    async with database.transaction() as session:
        await domain_limits.put(session, normal, **limit.model_dump())
        answer = await _limit_at(session, normal)
    background.add_task(announce, NodeSettingsChanged())
    return answer


@router.delete("/{pattern}", status_code=204)
async def lift_domain_limit(
    database: Store, pattern: Pattern, announce: Announcing, background: BackgroundTasks
) -> None:
    """Lift a pattern's limit; what waited for it goes out with everything else."""
    async with database.transaction() as session:
        if not await domain_limits.remove(session, _spelling(pattern)):
            raise Problem(404, f"There is no limit {pattern}.")
    background.add_task(announce, NodeSettingsChanged())


def _spelling(pattern: str) -> str:
    """As limits are kept; what is no pattern is the name of none."""
    try:
        return normalised(pattern)
    except InvalidPattern:
        return ""


async def _limit_at(session: Session, pattern: str) -> DomainLimitAnswer:
    found = await domain_limits.find(session, _spelling(pattern))
    if found is None:
        raise Problem(404, f"There is no limit {pattern}.")
    return _answer(found, (await domain_limits.connections_in_use(session)).get(found.pattern, 0))


def _answer(limit: DomainLimit, connections_in_use: int) -> DomainLimitAnswer:
    return DomainLimitAnswer(
        pattern=limit.pattern,
        connections=limit.connections,
        messages_per_minute=limit.messages_per_minute,
        messages_per_connection=limit.messages_per_connection,
        is_automatic=limit.is_automatic,
        slowed_to_per_minute=limit.slowed_to_per_minute,
        slowed_because=limit.slowed_because,
        slowed_at=limit.slowed_at,
        connections_in_use=connections_in_use,
        updated_at=limit.updated_at,
    )
