"""Purge: delete what is older than so many days, each in steps of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from services.scheduler.run import Run
from shared.contracts.task_kinds.purge import PurgeParameters
from shared.store import purges

#: Deletes some rows that are so many days old; how many.
PurgeSome = Callable[..., Awaitable[int]]


@dataclass(slots=True)
class Purged:
    """What was deleted; null where nothing was to be."""

    message_contents: int | None = None
    months_of_deliveries: int | None = None
    runs: int | None = None
    readings: int | None = None
    bounces: int | None = None
    notices: int | None = None
    requests: int | None = None


async def purge(run: Run, parameters: PurgeParameters) -> Purged:
    """What was deleted, in this and earlier tries."""
    purged = Purged(**run.cursor.get("purged", {}))
    if parameters.message_content_days is not None:
        await _purge_contents(run, purged, parameters.message_content_days)
    if parameters.delivery_days is not None:
        await _purge_deliveries(run, purged, parameters.delivery_days)
    rows: Sequence[tuple[str, PurgeSome, int | None]] = (
        ("runs", purges.purge_runs, parameters.run_days),
        ("readings", purges.purge_readings, parameters.tracking_days),
        ("bounces", purges.purge_bounces, parameters.bounce_days),
        ("notices", purges.purge_notices, parameters.notice_days),
        ("requests", purges.purge_requests, parameters.request_days),
    )
    for what, purge_some, days in rows:
        if days is not None:
            await _purge_rows(run, purged, what, purge_some, days)
    return purged


async def _purge_contents(run: Run, purged: Purged, days: int) -> None:
    place = run.cursor.get("after")
    after = (datetime.fromisoformat(place[0]), UUID(place[1])) if place else None
    while True:
        async with run.step() as connection:
            count, after = await purges.purge_content(connection, days=days, after=after)
            purged.message_contents = (purged.message_contents or 0) + count
            _remember(run, purged)
            if after is not None:
                run.cursor["after"] = [after[0].isoformat(), str(after[1])]
        if after is None:
            return


async def _purge_deliveries(run: Run, purged: Purged, days: int) -> None:
    purged.months_of_deliveries = purged.months_of_deliveries or 0
    async with run.step() as connection:
        months = await purges.old_months(connection, days=days)
    for month in months:
        async with run.step() as connection:
            purged.months_of_deliveries += await purges.drop_month(connection, month)
            _remember(run, purged)


async def _purge_rows(run: Run, purged: Purged, what: str, purge_some: PurgeSome, days: int) -> None:
    count = None
    while count != 0:
        async with run.step() as connection:
            count = await purge_some(connection, days=days)
            setattr(purged, what, (getattr(purged, what) or 0) + count)
            _remember(run, purged)


def _remember(run: Run, purged: Purged) -> None:
    run.cursor["purged"] = asdict(purged)
