"""Sending: what a connection slot does with a job. It gets a connection, waits for its turn, sends, and has the outcome
committed before it does anything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import random

from prometheus_client import Histogram

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.connecting import Connections
from services.outbound_sender.copies import Copies, WireContent
from services.outbound_sender.held_batch import Job
from services.outbound_sender.host_places import HostFull
from services.outbound_sender.kept_connection import Connection, Kept, LimitedHost
from services.outbound_sender.limited_batches import LimitedBatches
from services.outbound_sender.limits import Limiter
from services.outbound_sender.taking import Taker
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.retry import retry_after_seconds
from shared.core.verp import return_path_local
from shared.store.claims import ClaimedBatch, Recipient
from shared.store.outcomes import Report

_transaction_seconds = Histogram(
    "listfleet_transaction_seconds", "From a slot's taking a recipient to its committed outcome, in seconds."
)

#: What a transaction is thought to take before one was measured.
FIRST_GUESS_SECONDS = 0.1
#: After the peer ended a connection that was kept, the recipient is tried again this soon.
LOST_CONNECTION_SECONDS = 1.0
#: A commit that took longer waited for a database that was down; that says nothing about what the node can start.
MAX_COMMIT_SECONDS = 1.0
#: The weight of the latest transaction in the mean.
MEAN_WEIGHT = 0.02


#: A job, its outcome, and after how many seconds to try again if it is to be tried again.
_Settled = tuple[Job, Outcome, float]


class Pipeline:
    """Serves the jobs of all slots."""

    def __init__(
        self,
        backlog: Backlog,
        taker: Taker,
        limiter: Limiter,
        connections: Connections,
        record: Callable[[Report], Awaitable[None]],
        count: Callable[[ClaimedBatch, str, Outcome], None],
        *,
        secret: bytes,
        may_send: Callable[[], bool],
        is_lease_fresh: Callable[[], bool],
        max_messages_a_connection: int,
        is_stopped: Callable[[Job], bool],
        seven_bit: Callable[[int, Recipient], Awaitable[WireContent | Outcome]],
    ) -> None:
        """`count` is told what each recipient's domain answered; `seven_bit` has what a server without 8BITMIME is sent
        of a mailing for a recipient.

        `may_send` says whether anything may start at all: the lease is fresh, sending is on, nobody drains.
        `is_stopped` says of one job that it may not: its mailing is paused, its recipient suppressed, and so on."""
        self._backlog = backlog
        self._taker = taker
        self._limiter = limiter
        self._connections = connections
        self._record = record
        self._count = count
        self._secret = secret
        self._may_send = may_send
        self._is_lease_fresh = is_lease_fresh
        self._max_messages_a_connection = max_messages_a_connection
        self._seven_bit = seven_bit
        self._is_stopped = is_stopped
        self.mean_transaction_seconds = FIRST_GUESS_SECONDS
        #: Messages started since the process began.
        self.started = 0
        self._limited = LimitedBatches(
            backlog,
            limiter,
            connections,
            record,
            serve=self._serve,
            may_start=self._may_start,
            transaction_seconds=lambda: self.mean_transaction_seconds,
        )

    async def serve(self, job: Job, kept: Kept) -> None:
        """The job, or the limited batch that it is the first of, from connection to committed outcome; or back to the
        others, when nothing may start any more."""
        if job.held.moments is None:
            await self._serve(job, kept)
        else:
            await self._limited.serve(job, kept)

    async def _serve(self, job: Job, kept: Kept) -> None:
        may_start = partial(self._may_start, job)
        began_seconds = time.monotonic()
        content = job.held.content
        if isinstance(content, Copies):
            content = await content.of(job.recipient)
        if isinstance(content, Outcome):
            await self._end_without_sending(job, content, kept)
            return
        if may_start():
            failure = await self._connections.connect(job, kept)
            if failure is not None:
                await self._go_without(failure, job, kept, may_start)
                return
        if not await self._turn(job, content.size_bytes, may_start) or kept.connection is None:
            await self._hand_back(job, kept)
            return
        # It may have been lost while the slot waited for its turn.
        failure = await self._connections.connect(job, kept)
        if failure is not None:
            await self._go_without(failure, job, kept, may_start)
            return
        taken = await self._as_taken(content, job, kept.connection)
        if isinstance(taken, Outcome):
            await self._end_without_sending(job, taken, kept)
            return
        jobs = [job]
        if content.shared_return_path is not None and job.held.moments is None:
            jobs += self._backlog.more_like(job, kept.connection.max_recipients - 1, self._limiter.turn_now)
        for starting in jobs:
            self._taker.started(starting)
        self.started += len(jobs)
        while jobs:
            settled, left = await self._transact(jobs, taken, kept)
            sent_seconds, is_ours = time.monotonic(), self._taker.holds(jobs[0])
            await self._commit_all(settled, kept)
            if is_ours and job.held.moments is None:  # Who waits for moments says nothing about what can be started.
                commit_seconds = min(time.monotonic() - sent_seconds, MAX_COMMIT_SECONDS)
                self._measure((sent_seconds - began_seconds + commit_seconds) / len(jobs))
            if not left:
                return
            jobs = [other for other in left if self._may_start(other)]
            self._taker.hand_back([other for other in left if other not in jobs])
            if not jobs:
                return
            again = await self._connect_again(jobs, content, kept)
            if again is None:
                return
            taken, began_seconds = again, time.monotonic()

    async def _connect_again(self, left: Sequence[Job], content: WireContent, kept: Kept) -> WireContent | None:
        """The content as the peer takes it that whom the last one left over are sent to now; `None` when they have an
        outcome without that, or went back to the others."""
        failure = await self._connections.connect(left[0], kept)
        if isinstance(failure, LimitedHost):
            self._taker.hand_back(left, domain_limit=failure.pattern)
            return None
        if failure is None:
            assert kept.connection is not None  # noqa: S101 - `connect` saw to it
            taken = await self._as_taken(content, left[0], kept.connection)
            if isinstance(taken, WireContent):
                return taken
            failure = taken
        outcome = failure.as_outcome if isinstance(failure, HostFull) else failure
        await self._commit_all([self._counted(job, outcome) for job in left], kept)
        return None

    async def _as_taken(self, content: WireContent, job: Job, connection: Connection) -> WireContent | Outcome:
        """The content as this peer takes it."""
        if content.has_8bit and not connection.takes_8bit:
            return await self._seven_bit(job.held.batch.mailing_id, job.recipient)
        return content

    def _may_start(self, job: Job) -> bool:
        if not self._limiter.limits.serves(job.held.batch.lane) or self._is_stopped(job):
            return False
        return self._may_send() and self._taker.holds(job)

    async def _turn(self, job: Job, content_bytes: int, may_start: Callable[[], bool]) -> bool:
        """True when the job's message starts now: by the moments of its limit, and by the node's rates."""
        moments = job.held.moments
        if moments is None:
            return await self._limiter.turn(content_bytes, may_start)
        while await moments.next(may_start):
            if not await self._limiter.turn(content_bytes, may_start):
                return False
            if moments.take():
                return True
        return False

    async def _hand_back(self, job: Job, kept: Kept) -> None:
        """Let the others have the job; of a limited batch all that follows too, and its connection is closed first."""
        if job.held.moments is not None:
            await self._connections.close(kept)
        self._taker.hand_back([job, *self._backlog.rest_of(job)])

    async def _go_without(
        self, failure: Outcome | HostFull | LimitedHost, job: Job, kept: Kept, may_start: Callable[[], bool]
    ) -> None:
        """There is no connection for the job now."""
        if isinstance(failure, Outcome):
            await self._end_without_sending(job, failure, kept)
        elif isinstance(failure, LimitedHost):
            self._taker.hand_back([job], domain_limit=failure.pattern)
        elif may_start():
            self._backlog.set_aside(job, failure.host)
        else:
            await self._hand_back(job, kept)

    async def _transact(
        self, jobs: Sequence[Job], content: WireContent, kept: Kept
    ) -> tuple[list[_Settled], list[Job]]:
        """One transaction's outcomes, and whom the peer left for the next one."""
        assert kept.connection is not None  # noqa: S101 - `connect` saw to it
        was_stopped, first = False, jobs[0]

        def may_start_content() -> bool:
            nonlocal was_stopped
            was_stopped = not (self._is_lease_fresh() and all(map(self._taker.holds, jobs)))
            was_stopped = was_stopped or any(map(self._is_stopped, jobs))
            return not was_stopped

        outcomes = await kept.connection.send(
            content.shared_return_path
            or f"{return_path_local(first.recipient.delivery_id, self._secret)}@{content.return_domain}",
            [job.address.wire for job in jobs],
            content.segments,
            has_8bit=content.has_8bit,
            has_utf8_header=content.has_utf8_header,
            needs_smtputf8=first.address.needs_smtputf8,
            may_start_content=may_start_content,
        )
        was_new, kept.messages = not kept.messages, kept.messages + len(jobs)
        if not kept.connection.is_usable or kept.messages >= self._max_messages_a_connection:
            await self._connections.close(kept)
        settled, left = [], []
        for job, outcome in zip(jobs, outcomes, strict=True):
            if outcome is None:
                left.append(job)
            elif was_stopped:
                settled.append((job, outcome, 0.0))
            elif not was_new and _is_the_connections_end(outcome):
                if not _is_plain_421(outcome):
                    self._count(job.held.batch, job.address.ascii_domain, outcome)
                settled.append((job, outcome, LOST_CONNECTION_SECONDS))
            else:
                settled.append(self._counted(job, outcome))
        return settled, left

    async def _end_without_sending(self, job: Job, outcome: Outcome, kept: Kept) -> None:
        self._taker.started(job)
        await self._commit(*self._counted(job, outcome), kept)

    def _counted(self, job: Job, outcome: Outcome) -> _Settled:
        """The outcome with its wait, told to whoever adds up what the domain answers."""
        self._count(job.held.batch, job.address.ascii_domain, outcome)
        return job, outcome, _retry_after_seconds(job, outcome)

    async def _commit_all(self, settled: Sequence[_Settled], kept: Kept) -> None:
        if len(settled) == 1:
            await self._commit(*settled[0], kept)
        else:
            await asyncio.gather(*[self._commit(*one, kept) for one in settled])

    async def _commit(self, job: Job, outcome: Outcome, retry_seconds: float, kept: Kept) -> None:
        batch = job.held.batch
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
            await self._limited.record(report, job, kept)
        self._taker.ended(job)

    def _measure(self, transaction_seconds: float) -> None:
        _transaction_seconds.observe(transaction_seconds)
        self.mean_transaction_seconds += MEAN_WEIGHT * (transaction_seconds - self.mean_transaction_seconds)


def _is_the_connections_end(outcome: Outcome) -> bool:
    """The peer had enough of a connection that was kept: no word about the recipient, who gets a new one."""
    return outcome.kind is OutcomeKind.DEFERRED and (outcome.reply is None or outcome.reply.code == 421)


def _is_plain_421(outcome: Outcome) -> bool:
    """421 that gives no reason: on a connection that was kept, what servers say after so many messages on one. A host
    that gets too much says so on the next connection too; slowed down for this, it would never be free again."""
    return outcome.reply is not None and outcome.reply.code == 421 and outcome.reply.enhanced_status is None


def _retry_after_seconds(job: Job, outcome: Outcome) -> float:
    return retry_after_seconds(
        job.recipient.attempt,
        random(),  # noqa: S311 - jitter
        schedule=job.held.batch.retry_schedule_seconds,
        reply=outcome.reply,
    )
