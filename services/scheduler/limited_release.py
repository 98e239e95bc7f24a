"""Release of what is under a limit of its domain or list: apart from everything else, so that it is in nobody's way.

A limited batch has one connection, closed before the batch is; so the batches that are out are the connections in use.
With a rate it has moments too (`core/pacing.py`), which are given out here, under an advisory lock, from rows alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

import structlog

from services.scheduler.release import Releaser
from shared.contracts.topology import Lane
from shared.core.pacing import DEFAULT_CONNECTIONS, LEAD_SECONDS, REACH_SECONDS, Course, courses
from shared.core.windows import MAX_BATCH_SIZE
from shared.store import limited_release
from shared.store.engine import Database, RawConnection, StoreUnavailable
from shared.store.limited_release import Allowance, LimitedDemand

_log = structlog.get_logger(__name__)

STEP_SECONDS = 0.2
IDLE_SECONDS = 0.5
BATCHES_A_STEP = 50
#: Batches of one limit that nobody has claimed: however many connections it may have, the others' are not far behind.
MAX_UNCLAIMED = 50


@dataclass(frozen=True, slots=True)
class Share:
    """What a mailing gets of its limits now."""

    courses: Sequence[Course]
    #: The first moment and the last one; `None` without a rate.
    starts_at: datetime | None
    last_start_at: datetime | None


def share_of(
    demand: LimitedDemand, domain: Allowance, mailing_list: Allowance, *, now: datetime, connections: int
) -> Share | None:
    """The demand's share of what both limits allow, on at most so many connections; `None` when it has to wait."""
    at_most = min(MAX_BATCH_SIZE, domain.messages_per_connection or MAX_BATCH_SIZE)
    interval_seconds = max(domain.interval_seconds, mailing_list.interval_seconds)
    if not interval_seconds:
        size = min(at_most, -(-demand.waiting // connections))
        count = min(connections, -(-demand.waiting // size))
        return Share([Course(0.0, 0.0, size)] * count, None, None)
    soon = now + timedelta(seconds=REACH_SECONDS)
    starts_at = max(soon, domain.next_start_at or soon, mailing_list.next_start_at or soon)
    if starts_at > now + timedelta(seconds=LEAD_SECONDS):
        return None
    dealt = courses(demand.waiting, interval_seconds=interval_seconds, connections=connections, at_most=at_most)
    last_after_seconds = interval_seconds * (sum(course.size for course in dealt) - 1)
    return Share(dealt, starts_at, starts_at + timedelta(seconds=last_after_seconds))


def in_turn(demands: Sequence[LimitedDemand], turn_mailing_id: int) -> list[LimitedDemand]:
    """Express first; then the mailing after the one that had its turn last."""
    return sorted(
        demands,
        key=lambda demand: (demand.lane is not Lane.EXPRESS, demand.mailing_id <= turn_mailing_id, demand.mailing_id),
    )


class LimitedReleaser:
    """Runs release steps for all limits for as long as the process lives; `releaser` publishes the batches."""

    def __init__(self, database: Database, releaser: Releaser, *, publish_within_seconds: float) -> None:
        self._database = database
        self._releaser = releaser
        self._publish_within_seconds = publish_within_seconds

    async def run(self) -> None:
        """Release until cancelled."""
        while True:
            try:
                is_busy = await self.step()
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("nothing limited released", error=str(error))
                is_busy = False
            await asyncio.sleep(STEP_SECONDS if is_busy else IDLE_SECONDS)

    async def step(self) -> bool:
        """Release what the limits allow now; whether anything limited waits."""
        async with self._database.raw_transaction() as connection:
            if not await limited_release.try_lock(connection):
                return True
            demands = await limited_release.demands(connection)
            batches = await self._release(connection, demands) if demands else []
        for lane, of_lane in groupby(sorted(batches), key=lambda batch: batch[0]):
            await self._releaser.publish(lane, [batch_id for _, batch_id in of_lane], is_limited=True)
        return bool(demands)

    async def _release(self, connection: RawConnection, demands: Sequence[LimitedDemand]) -> list[tuple[Lane, int]]:
        domains = await limited_release.of_domains(connection, sorted({demand.domain_limit for demand in demands}))
        list_ids = {demand.limited_list_id for demand in demands if demand.limited_list_id is not None}
        lists = dict(await limited_release.of_lists(connection, sorted(list_ids)))
        now = await limited_release.clock(connection)
        released: list[tuple[Lane, int]] = []
        by_limit = {limit: list(group) for limit, group in groupby(demands, key=lambda demand: demand.domain_limit)}
        # A step is not long enough for all: who has least goes first.
        for pattern in sorted(by_limit, key=lambda limit: domains.get(limit, Allowance()).in_use):
            if pattern and pattern not in domains:
                for demand in by_limit[pattern]:
                    await limited_release.lift(connection, demand)
                continue
            domain = domains.get(pattern, Allowance())
            waiting = in_turn(by_limit[pattern], domain.turn_mailing_id)
            for place, demand in enumerate(waiting):
                all_connections = domain.connections or DEFAULT_CONNECTIONS
                free = min(
                    all_connections - domain.in_use, MAX_UNCLAIMED - domain.unclaimed, BATCHES_A_STEP - len(released)
                )
                if free <= 0:
                    break
                mailing_list = lists.get(demand.limited_list_id or 0, Allowance())
                # A block of moments has half of the connections: the next one, released before it is over, the others.
                # Where there is no rate to wait for, the free ones are shared by those that wait now.
                part = all_connections // 2 if domain.messages else free // (len(waiting) - place)
                connections = min(free, max(1, part))
                share = share_of(demand, domain, mailing_list, now=now, connections=connections)
                if share is None:
                    continue
                batch_ids = await self._make_batches(connection, demand, share)
                released += [(demand.lane, batch_id) for batch_id in batch_ids]
                domain = domain.after(share.last_start_at)
                made = len(batch_ids)
                domain = replace(domain, in_use=domain.in_use + made, unclaimed=domain.unclaimed + made)
                mailing_list = mailing_list.after(share.last_start_at)
                if demand.limited_list_id is not None:
                    lists[demand.limited_list_id] = mailing_list
                await limited_release.give_out_moments(connection, demand, domain, mailing_list)
        return released

    async def _make_batches(self, connection: RawConnection, demand: LimitedDemand, share: Share) -> list[int]:
        batch_ids = [
            await limited_release.make_batch(
                connection,
                demand,
                recipients=course.size,
                starts_at=share.starts_at and share.starts_at + timedelta(seconds=course.starts_after_seconds),
                interval_seconds=course.interval_seconds,
                publish_after_seconds=self._publish_within_seconds,
            )
            for course in share.courses
        ]
        return [batch_id for batch_id in batch_ids if batch_id is not None]
