"""What became of a mailing."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.routes.lists import Store
from services.admin_api.routes.mailings import MailingId, mailing_at
from services.admin_api.schemas.statistics import (
    DomainStatistics,
    HourStatistics,
    LinkStatistics,
    ReadingsAnswer,
    StatisticsAnswer,
)
from shared.core.readings import CountedBy, ReadingKind
from shared.store import counts, statistics
from shared.store.statistics import ReadingCounts, Readings

router = APIRouter(prefix="/mailings", tags=["Mailings"], route_class=CheckedRoute)


@router.get("/{mailing_id}/statistics")
async def get_statistics(database: Store, mailing_id: MailingId) -> StatisticsAnswer:
    """What became of a mailing: deliveries, opens and clicks, as a whole, by link, by domain and over time."""
    async with database.snapshot() as session:
        await mailing_at(session, mailing_id)
        ended = await counts.of_mailing(session, mailing_id)
        deferred = await statistics.deferrals(session, mailing_id)
        whole = await statistics.of_whole(session, mailing_id)
        links = await statistics.largest(session, mailing_id, CountedBy.LINK)
        domains = await statistics.largest(session, mailing_id, CountedBy.DOMAIN)
        hours = await statistics.by_hour(session, mailing_id)
    return StatisticsAnswer(
        delivered=ended.delivered,
        refused=ended.refused,
        deferred=deferred,
        opens=_answer(whole, ReadingKind.OPEN),
        clicks=_answer(whole, ReadingKind.CLICK),
        links=[LinkStatistics(url=link.name, clicks=_answer(link.readings, ReadingKind.CLICK)) for link in links],
        domains=[
            DomainStatistics(
                domain=domain.name,
                opens=_answer(domain.readings, ReadingKind.OPEN),
                clicks=_answer(domain.readings, ReadingKind.CLICK),
            )
            for domain in domains
        ],
        hours=[
            HourStatistics(
                begins_at=datetime.fromisoformat(hour.name),
                opens=_answer(hour.readings, ReadingKind.OPEN),
                clicks=_answer(hour.readings, ReadingKind.CLICK),
            )
            for hour in hours
        ],
    )


def _answer(readings: Readings, kind: ReadingKind) -> ReadingsAnswer:
    people, machines = (readings.get((kind, is_machine), ReadingCounts()) for is_machine in (False, True))
    return ReadingsAnswer(
        total=people.total, unique=people.readers, machine_total=machines.total, machine_unique=machines.readers
    )
