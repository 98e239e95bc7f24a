"""What became of a mailing."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.routes.lists import Store
from services.admin_api.routes.mailings import MailingId, mailing_at
from services.admin_api.schemas.statistics import (
    DeliveriesAnswer,
    DomainStatistics,
    HourStatistics,
    LinkStatistics,
    ReadingsAnswer,
    StatisticsAnswer,
)
from shared.core.readings import CountedBy, ReadingKind
from shared.store import counts, roll_ups, statistics
from shared.store.roll_ups import DeliveryCounts
from shared.store.statistics import LARGEST, ReadingCounts, Readings

router = APIRouter(prefix="/mailings", tags=["Mailings"], route_class=CheckedRoute)


@router.get("/{mailing_id}/statistics")
async def get_statistics(database: Store, mailing_id: MailingId) -> StatisticsAnswer:
    """What became of a mailing: deliveries, opens and clicks, as a whole, by link, by domain and over time."""
    async with database.snapshot() as session:
        mailing = await mailing_at(session, mailing_id)
        ended = await counts.of_mailing(session, mailing_id)
        attempts_deferred = await statistics.deferrals(session, mailing_id)
        deliveries = await roll_ups.of_mailing(
            session, mailing_id, mailing.created_at, recipients=mailing.recipients, largest=LARGEST
        )
        whole = await statistics.of_whole(session, mailing_id)
        links = await statistics.largest(session, mailing_id, CountedBy.LINK)
        if deliveries is None:
            largest = await statistics.largest(session, mailing_id, CountedBy.DOMAIN)
            domains = {domain.name: domain.readings for domain in largest}
        else:
            found = await statistics.of_keys(session, mailing_id, CountedBy.DOMAIN, list(deliveries.domains))
            domains = {domain: found.get(domain, {}) for domain in deliveries.domains}
        hours = {hour.name: hour.readings for hour in await statistics.by_hour(session, mailing_id)}
    delivered_by = deliveries.domains if deliveries else {}
    delivered_in = deliveries.hours if deliveries else {}
    return StatisticsAnswer(
        delivered=ended.delivered,
        refused=ended.refused,
        deferred=attempts_deferred,
        deferred_now=deliveries.whole.waiting if deliveries else None,
        bounced=deliveries.whole.bounced if deliveries else None,
        counted_at=deliveries.counted_at if deliveries else None,
        opens=_answer(whole, ReadingKind.OPEN),
        clicks=_answer(whole, ReadingKind.CLICK),
        links=[LinkStatistics(url=link.name, clicks=_answer(link.readings, ReadingKind.CLICK)) for link in links],
        domains=[
            DomainStatistics(
                domain=domain,
                deliveries=_deliveries(delivered_by.get(domain)),
                opens=_answer(readings, ReadingKind.OPEN),
                clicks=_answer(readings, ReadingKind.CLICK),
            )
            for domain, readings in domains.items()
        ],
        hours=[
            HourStatistics(
                begins_at=datetime.fromisoformat(hour),
                deliveries=_deliveries(delivered_in.get(hour, DeliveryCounts()) if deliveries else None),
                opens=_answer(hours.get(hour, {}), ReadingKind.OPEN),
                clicks=_answer(hours.get(hour, {}), ReadingKind.CLICK),
            )
            for hour in sorted(hours.keys() | delivered_in.keys())
        ],
    )


def _deliveries(counted: DeliveryCounts | None) -> DeliveriesAnswer | None:
    if counted is None:
        return None
    return DeliveriesAnswer(
        delivered=counted.delivered, refused=counted.refused, deferred=counted.waiting, bounced=counted.bounced
    )


def _answer(readings: Readings, kind: ReadingKind) -> ReadingsAnswer:
    people, machines = (readings.get((kind, is_machine), ReadingCounts()) for is_machine in (False, True))
    return ReadingsAnswer(
        total=people.total, unique=people.readers, machine_total=machines.total, machine_unique=machines.readers
    )
