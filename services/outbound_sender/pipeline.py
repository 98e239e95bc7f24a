"""Sending: each connection slot takes a job, gets a connection, waits for its turn, sends, and has the outcome
committed before it does anything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import random
from typing import Protocol

from prometheus_client import Histogram

from services.outbound_sender.backlog import Backlog, Job
from services.outbound_sender.limits import Limiter
from services.outbound_sender.next_hop import LimitedHost
from services.outbound_sender.rendering import WireContent
from services.outbound_sender.taking import Taker
from shared.core.address import Address
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.retry import retry_after_seconds
from shared.core.verp import return_path_local
from shared.store.batches import ClaimedBatch
from shared.store.deliveries import Report

_transaction_seconds = Histogram(
    "listfleet_transaction_seconds", "From a recipient's start to its committed outcome, in seconds."
)

#: A connection that nobody needs is closed after so long.
IDLE_SECONDS = 5.0
#: What a transaction is thought to take before one was measured.
FIRST_GUESS_SECONDS = 0.1
#: After a kept connection turned out to be lost, the recipient is tried again this soon.
LOST_CONNECTION_SECONDS = 1.0
#: A commit that took longer waited for a database that was down; that says nothing about what the node can start.
MAX_COMMIT_SECONDS = 1.0
#: While an outcome waits longer than this for its commit, a limited batch's connection is not kept open.
MAX_UNRECORDED_SECONDS = 5.0
#: The weight of the latest transaction in the mean.
MEAN_WEIGHT = 0.02


class Connection(Protocol):
    """A connection to a next hop."""

    @property
    def is_usable(self) -> bool: ...

    async def send(
        self,
        return_path: str,
        recipient: str,
        content: bytes,
        *,
        has_8bit: bool,
        needs_smtputf8: bool,
        may_start_content: Callable[[], bool],
    ) -> Outcome: ...

    async def quit(self) -> None: ...

    def abort(self) -> None: ...


class NextHop(Protocol):
    """Opens connections towards a recipient's domain."""

    async def open_connection(self, domain: str, domain_limit: str) -> Connection | Outcome | LimitedHost: ...


@dataclass(slots=True)
class _Kept:
    """The connection that a slot keeps from one transaction to the next."""

    connection: Connection | None = None
    destination: str | None = None
    #: Nothing was sent on it yet.
    is_new: bool = True


class Pipeline:
    """The connection slots of a node."""

    def __init__(
        self,
        backlog: Backlog,
        taker: Taker,
        limiter: Limiter,
        next_hop: NextHop,
        record: Callable[[Report], Awaitable[None]],
        count: Callable[[ClaimedBatch, str, Outcome], None],
        *,
        destination: Callable[[Address], str],
        secret: bytes,
        may_send: Callable[[], bool],
        is_lease_fresh: Callable[[], bool],
    ) -> None:
        """`count` is told what each recipient's domain answered; `may_send` says whether anything may start at all:
        the lease is fresh, sending is on, nobody drains."""
        self._backlog = backlog
        self._taker = taker
        self._limiter = limiter
        self._next_hop = next_hop
        self._record = record
        self._count = count
        self._destination = destination
        self._secret = secret
        self._may_send = may_send
        self._is_lease_fresh = is_lease_fresh
        self._slots: dict[int, asyncio.Task[None]] = {}
        self._busy: set[int] = set()
        self._idle = asyncio.Condition()
        self._resized = asyncio.Event()
        self.mean_transaction_seconds = FIRST_GUESS_SECONDS
        self.open_connections = 0
        #: Messages started since the process began.
        self.started = 0

    async def run(self) -> None:
        """Keep as many slots as the limit says, until cancelled. A fault in a slot is a bug: it ends the node."""
        try:
            while True:
                self._resized.clear()
                self._fit_slots()
                resized = asyncio.create_task(self._resized.wait())
                done, _ = await asyncio.wait([resized, *self._slots.values()], return_when=asyncio.FIRST_COMPLETED)
                resized.cancel()
                for number, slot in list(self._slots.items()):
                    if slot in done:
                        del self._slots[number]
                        if not slot.cancelled():
                            slot.result()
        finally:
            for slot in self._slots.values():
                slot.cancel()
            await asyncio.gather(*self._slots.values(), return_exceptions=True)

    def resize(self) -> None:
        """The limit of connections changed."""
        self._resized.set()

    def _fit_slots(self) -> None:
        for number in range(self._limiter.connections):
            if number not in self._slots:
                self._slots[number] = asyncio.create_task(self._slot(number), name=f"slot {number}")
        for number, slot in self._slots.items():
            # A busy slot above the limit finishes its transaction and then ends by itself.
            if number >= self._limiter.connections and number not in self._busy:
                slot.cancel()

    async def settle(self) -> None:
        """Return when no slot has a job; what is in flight is finished, and its outcome committed."""
        async with self._idle:
            await self._idle.wait_for(lambda: not self._busy)

    async def _slot(self, number: int) -> None:
        kept = _Kept()
        try:
            while number < self._limiter.connections:
                job = await self._next_job(kept, only_express=number < self._limiter.express_connections)
                self._busy.add(number)
                try:
                    if job.held.moments is None:
                        await self._serve(job, kept)
                    else:
                        await self._serve_limited(job, kept)
                finally:
                    self._busy.discard(number)
                    if not self._busy:
                        async with self._idle:
                            self._idle.notify_all()
        finally:
            await self._close(kept)

    async def _next_job(self, kept: _Kept, *, only_express: bool) -> Job:
        if kept.connection is not None and (only_express or not len(self._backlog)):
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    return await self._backlog.next(kept.destination, only_express=only_express)
            except TimeoutError:
                await self._close(kept)
        return await self._backlog.next(kept.destination, only_express=only_express)

    async def _serve_limited(self, first: Job, kept: _Kept) -> None:
        """A limited batch: one recipient after the other, on a connection of its own, which is closed before the batch
        is. The one that was kept is another destination's."""
        await self._close(kept)
        job: Job | None = first
        while job is not None:
            await self._serve(job, kept)
            job = self._backlog.next_of(job)
        await self._close(kept)

    async def _serve(self, job: Job, kept: _Kept) -> None:
        """One job from connection to committed outcome; or back to the others, when nothing may start any more."""

        def may_start() -> bool:
            return self._may_send() and self._taker.holds(job)

        began_seconds = time.monotonic()
        if isinstance(job.held.content, Outcome):
            await self._end_without_sending(job, job.held.content, kept)
            return
        if may_start():
            failure = await self._connect(job, kept)
            if failure is not None:
                await self._end_without_sending(job, failure, kept)
                return
        if not await self._turn(job, may_start) or kept.connection is None:
            await self._hand_back(job, kept)
            return
        failure = await self._connect(job, kept)  # It may have been lost while the slot waited for its turn.
        if failure is not None:
            await self._end_without_sending(job, failure, kept)
            return
        self._taker.started(job)
        self.started += 1
        outcome, retry_seconds = await self._transact(job, job.held.content, kept)
        sent_seconds, is_ours = time.monotonic(), self._taker.holds(job)
        await self._commit(job, outcome, retry_seconds, kept)
        if is_ours:
            commit_seconds = min(time.monotonic() - sent_seconds, MAX_COMMIT_SECONDS)
            self._measure(sent_seconds - began_seconds + commit_seconds)

    async def _turn(self, job: Job, may_start: Callable[[], bool]) -> bool:
        """True when the job's message starts now: by the moments of its limit, and by the node's rate."""
        moments = job.held.moments
        if moments is None:
            return await self._limiter.turn(may_start)
        while await moments.next(may_start):
            if not await self._limiter.turn(may_start):
                return False
            if moments.take():
                return True
        return False

    async def _hand_back(self, job: Job, kept: _Kept) -> None:
        """Let the others have the job; of a limited batch all that follows too, and its connection is closed first."""
        if job.held.moments is not None:
            await self._close(kept)
        self._taker.hand_back([job, *self._backlog.rest_of(job)])

    async def _connect(self, job: Job, kept: _Kept) -> Outcome | LimitedHost | None:
        """Have a usable connection to the job's destination in `kept`, or say why there is none."""
        destination = self._destination(job.address)
        if kept.connection is not None and (kept.destination != destination or not kept.connection.is_usable):
            await self._close(kept)
        if kept.connection is not None:
            return None
        opened = await self._next_hop.open_connection(job.address.ascii_domain, job.held.batch.domain_limit)
        if isinstance(opened, Outcome | LimitedHost):
            return opened
        kept.connection, kept.destination, kept.is_new = opened, destination, True
        self.open_connections += 1
        return None

    async def _transact(self, job: Job, content: WireContent, kept: _Kept) -> tuple[Outcome, float]:
        """The transaction's outcome, and after how many seconds to try again if it is to be tried again."""
        assert kept.connection is not None  # noqa: S101 - `_connect` saw to it
        was_stopped = False

        def may_start_content() -> bool:
            nonlocal was_stopped
            was_stopped = not (self._is_lease_fresh() and self._taker.holds(job))
            return not was_stopped

        outcome = await kept.connection.send(
            f"{return_path_local(job.recipient.delivery_id, self._secret)}@{content.return_domain}",
            job.address.wire,
            content.content,
            has_8bit=content.has_8bit,
            needs_smtputf8=job.address.needs_smtputf8,
            may_start_content=may_start_content,
        )
        was_new, kept.is_new = kept.is_new, False
        if not kept.connection.is_usable:
            await self._close(kept)
        if was_stopped:
            return outcome, 0.0
        if outcome.kind is OutcomeKind.DEFERRED and outcome.reply is None and not was_new:
            # The peer closed a connection that was kept: no word about this recipient, who gets a new connection.
            return outcome, LOST_CONNECTION_SECONDS
        return outcome, retry_after_seconds(job.recipient.attempt, random())  # noqa: S311 - jitter

    async def _end_without_sending(self, job: Job, end: Outcome | LimitedHost, kept: _Kept) -> None:
        if isinstance(end, LimitedHost):
            self._taker.hand_back([job], domain_limit=end.pattern)
            return
        self._taker.started(job)
        await self._commit(job, end, retry_after_seconds(job.recipient.attempt, random()), kept)  # noqa: S311 - jitter

    async def _commit(self, job: Job, outcome: Outcome, retry_seconds: float, kept: _Kept) -> None:
        batch = job.held.batch
        self._count(batch, job.address.ascii_domain, outcome)
        report = Report(
            batch_id=batch.id,
            claim=batch.claim,
            mailing_created_at=batch.mailing_created_at,
            delivery_id=job.recipient.delivery_id,
            round=job.recipient.round,
            attempt=job.recipient.attempt,
            outcome=outcome,
            retry_after_seconds=retry_seconds,
        )
        if job.held.moments is None:
            await self._record(report)
        else:
            await self._record_limited(report, job, kept)
        self._taker.ended(job)

    async def _record_limited(self, report: Report, job: Job, kept: _Kept) -> None:
        """Commit an outcome of a limited batch, whose connection another may have as soon as the batch is closed, or
        taken over because nobody heard of us for too long."""
        if kept.connection is None or self._backlog.is_last(job):
            await self._close(kept)
            await self._record(report)
            return
        too_long = asyncio.get_running_loop().call_later(MAX_UNRECORDED_SECONDS, kept.connection.abort)
        try:
            await self._record(report)
        finally:
            too_long.cancel()

    def _measure(self, transaction_seconds: float) -> None:
        _transaction_seconds.observe(transaction_seconds)
        self.mean_transaction_seconds += MEAN_WEIGHT * (transaction_seconds - self.mean_transaction_seconds)

    async def _close(self, kept: _Kept) -> None:
        connection, kept.connection, kept.destination = kept.connection, None, None
        if connection is not None:
            self.open_connections -= 1
            await connection.quit()
