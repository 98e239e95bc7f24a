"""Outcomes are committed before the slot goes on: all slots' outcomes together, one transaction after the other."""

from __future__ import annotations

import asyncio
from collections import Counter as Counted
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from prometheus_client import Counter, Histogram

from shared.core.delivery import Outcome, OutcomeKind
from shared.store import bounces, outcomes
from shared.store.engine import REFUSED_VALUES, Database, RawConnection, StoreUnavailable
from shared.store.outcomes import Recorded, Report
from shared.store.patience import PAUSE_SECONDS

_log = structlog.get_logger(__name__)

_outcomes = Counter("listfleet_outcomes", "Attempts by what they came to.", ["outcome"])
_group_size = Histogram(
    "listfleet_outcome_group_size", "Outcomes recorded in one transaction.", buckets=(1, 2, 5, 10, 20, 50, 100, 1000)
)

#: Outcomes in one transaction, at most.
MAX_GROUP = 1000


@dataclass(frozen=True, slots=True)
class _Pending:
    report: Report
    done: asyncio.Future[None]


class Recorder:
    """Writes outcomes on a connection of its own. While one group is being committed, the next one gathers."""

    def __init__(
        self,
        database: Database,
        *,
        node_name: Callable[[], str],
        unstarted_of: Callable[[Sequence[int]], Mapping[int, int]],
        on_cancelled: Callable[[Mapping[int, tuple[int, ...]]], Coroutine[Any, Any, None]],
    ) -> None:
        """`unstarted_of` tells how many recipients of each batch are not started; `on_cancelled` tells their holders
        about second copies of what an earlier holder delivered after all."""
        self._database = database
        self._node_name = node_name
        self._unstarted_of = unstarted_of
        self._on_cancelled = on_cancelled
        self._pending: list[_Pending] = []
        self._has_pending = asyncio.Event()
        self._telling: set[asyncio.Task[None]] = set()

    async def record(self, report: Report) -> None:
        """Return once the outcome is committed, however long the database is down."""
        pending = _Pending(report, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        self._has_pending.set()
        await pending.done

    async def run(self) -> None:
        """Record until cancelled. A group whose answer was lost is repeated as it is."""
        group: list[_Pending] = []
        while True:
            try:
                async with self._database.raw() as connection:
                    while True:
                        group = group or await self._next_group()
                        await self._write(connection, [pending.report for pending in group])
                        for kind, count in Counted(pending.report.outcome.kind for pending in group).items():
                            _outcomes.labels(kind.value).inc(count)
                        for pending in group:
                            if not pending.done.done():
                                pending.done.set_result(None)
                        group = []
            except StoreUnavailable as error:
                _log.warning("outcomes wait for the database", outcomes=len(group), error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _next_group(self) -> list[_Pending]:
        await self._has_pending.wait()
        group, self._pending = self._pending[:MAX_GROUP], self._pending[MAX_GROUP:]
        if not self._pending:
            self._has_pending.clear()
        _group_size.observe(len(group))
        return group

    async def _write(self, connection: RawConnection, reports: Sequence[Report]) -> None:
        try:
            recorded = await self._record(connection, reports)
        except REFUSED_VALUES as error:
            # A row that the database refuses must not hold up the others for ever: halve until it stands alone.
            _log.error("outcomes refused by the database", outcomes=len(reports), error=repr(error))
            if len(reports) > 1:
                middle = len(reports) // 2
                await self._write(connection, reports[:middle])
                await self._write(connection, reports[middle:])
                return
            plain = Outcome(reports[0].outcome.kind, "the remote's words could not be stored")
            recorded = await self._record(connection, [replace(reports[0], outcome=plain)])
        if recorded.to_cancel:
            # The broker may be down: nobody's commit waits for it.
            telling = asyncio.create_task(self._on_cancelled(recorded.to_cancel))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _record(self, connection: RawConnection, reports: Sequence[Report]) -> Recorded:
        recorded = await outcomes.record_outcomes(
            connection,
            reports,
            self._unstarted_of(sorted({report.batch_id for report in reports})),
            node_name=self._node_name(),
        )
        refusals = [report for report in reports if report.outcome.kind is OutcomeKind.REFUSED]
        if refusals:
            await bounces.record_refusals(
                connection, [(each.delivery_id, each.mailing_created_at, _words(each.outcome)) for each in refusals]
            )
        return recorded


def _words(outcome: Outcome) -> str:
    return outcome.because if outcome.reply is None else str(outcome.reply)
