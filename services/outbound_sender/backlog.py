"""The backlog: recipients of claimed batches that this node has not started yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.outbound_sender.moments import Moments
from services.outbound_sender.rendering import WireContent
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.delivery import Outcome
from shared.store.batches import ClaimedBatch, Recipient


@dataclass(slots=True)
class HeldBatch:
    """A claimed batch, what of it is not started, and what has no outcome yet."""

    batch: ClaimedBatch
    #: What to send, or what every recipient comes to without sending.
    content: WireContent | Outcome
    claimed_at_seconds: float
    #: Called once, when nothing of the batch is unstarted: the broker's message can go.
    on_all_started: Callable[[], None]
    unstarted: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    #: What the batch's row says about `unstarted`.
    reported_unstarted: int = 0
    #: When its recipients may start; `None` for a batch that is under no limit.
    moments: Moments | None = None

    @property
    def id(self) -> int:
        return self.batch.id

    @property
    def claim(self) -> UUID:
        return self.batch.claim

    def leave_unstarted(self, delivery_id: int) -> None:
        """The recipient was started, or goes back to the others."""
        if delivery_id in self.unstarted:
            self.unstarted.discard(delivery_id)
            if not self.unstarted:
                self.on_all_started()


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One recipient to send to."""

    held: HeldBatch
    recipient: Recipient
    address: Address


#: Of so many jobs that are no express mail, one is bulk while both wait; the others are posts.
TAKES_A_BULK = 5
#: A destination gets no more than so many jobs of a mailing in a row while another waits.
MAX_IN_A_ROW = 10


class _Mailing:
    """A mailing's jobs: in order, but destinations together."""

    def __init__(self) -> None:
        self.destinations: OrderedDict[str, deque[Job]] = OrderedDict()
        self._in_a_row = 0

    def take(self, near: str | None) -> Job:
        destination = next(iter(self.destinations))
        if near in self.destinations and self._in_a_row < MAX_IN_A_ROW:
            destination = near  # type: ignore[assignment]  # `None` is no key
            self._in_a_row += 1
        else:
            self._in_a_row = 0
        jobs = self.destinations[destination]
        job = jobs.popleft()
        if not jobs:
            del self.destinations[destination]
        elif not self._in_a_row:
            self.destinations.move_to_end(destination)
        return job


class Backlog:
    """What is to be started: express first, bulk in a fifth of the turns, mailings of a lane in turn.

    Connections are kept: whoever just sent to a destination gets the next recipient there. The recipients of a limited
    batch are one slot's, one after the other: `next` gives the first, `next_of` those that follow.
    """

    def __init__(self, destination: Callable[[Address], str]) -> None:
        """`destination` tells which recipients may share a connection."""
        self._destination = destination
        self._lanes: dict[Lane, OrderedDict[int, _Mailing]] = {lane: OrderedDict() for lane in Lane}
        #: Limited batches that no slot has begun, and those that one is at.
        self._limited: OrderedDict[int, deque[Job]] = OrderedDict()
        self._begun: dict[int, deque[Job]] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waiting_for_express: deque[asyncio.Future[None]] = deque()
        self._takes = 0
        self._size = 0

    def __len__(self) -> int:
        """What a slot could take now: a limited batch counts once."""
        return self._size

    def add(self, jobs: Sequence[Job]) -> None:
        """Let the slots have these, which are of one batch."""
        if not jobs:
            return
        batch = jobs[0].held.batch
        if batch.limit is not None:
            self._limited[batch.id] = deque(jobs)
            self._size += 1
            self._wake_one(self._waiting)
            return
        mailing = self._lanes[batch.lane].setdefault(batch.mailing_id, _Mailing())
        for job in jobs:
            mailing.destinations.setdefault(self._destination(job.address), deque()).append(job)
        self._size += len(jobs)
        for _ in jobs:
            if not (batch.lane is Lane.EXPRESS and self._wake_one(self._waiting_for_express)):
                self._wake_one(self._waiting)

    @staticmethod
    def _wake_one(waiting: deque[asyncio.Future[None]]) -> bool:
        while waiting:
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False

    async def next(self, near: str | None, *, only_express: bool = False) -> Job:
        """The next job, one for the destination `near` where the mailing whose turn it is has one."""
        waiting = self._waiting_for_express if only_express else self._waiting
        while not (self._lanes[Lane.EXPRESS] if only_express else self._size):
            waiter = asyncio.get_running_loop().create_future()
            waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    # The job is for somebody who still waits.
                    _ = self._wake_one(waiting) or self._wake_one(self._waiting)
                raise
        return self._take(near)

    def next_of(self, job: Job) -> Job | None:
        """The next job of the limited batch that `job` is of; `None` after the last."""
        jobs = self._begun.get(job.held.id)
        if jobs:
            return jobs.popleft()
        self._begun.pop(job.held.id, None)
        return None

    def rest_of(self, job: Job) -> list[Job]:
        """All that follows `job` in its limited batch, taken out."""
        return list(self._begun.pop(job.held.id, ()))

    def is_last(self, job: Job) -> bool:
        """Whether nothing follows `job` in its limited batch."""
        return not self._begun.get(job.held.id)

    def _take(self, near: str | None) -> Job:
        self._size -= 1
        if self._limited and not self._lanes[Lane.EXPRESS]:
            # Its moments pass; and the node holds only as many as it has connections to spare.
            batch_id, jobs = self._limited.popitem(last=False)
            self._begun[batch_id] = jobs
            return jobs.popleft()
        mailings = self._lane()
        mailing_id, mailing = next(iter(mailings.items()))
        job = mailing.take(near)
        if mailing.destinations:
            mailings.move_to_end(mailing_id)
        else:
            del mailings[mailing_id]
        return job

    def _lane(self) -> OrderedDict[int, _Mailing]:
        self._takes += 1
        bulk_first = self._takes % TAKES_A_BULK == 0
        order = (Lane.EXPRESS, Lane.BULK, Lane.POSTS) if bulk_first else (Lane.EXPRESS, Lane.POSTS, Lane.BULK)
        return next(mailings for lane in order if (mailings := self._lanes[lane]))

    def remove(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out every job that `is_wanted` says yes to and that no slot has."""
        removed: list[Job] = []
        for mailings in self._lanes.values():
            for mailing_id, mailing in list(mailings.items()):
                removed_here = _remove(mailing.destinations, is_wanted)
                self._size -= len(removed_here)
                removed += removed_here
                if not mailing.destinations:
                    del mailings[mailing_id]
        waiting = len(self._limited)
        removed += _remove(self._limited, is_wanted)
        self._size -= waiting - len(self._limited)
        removed += _remove(self._begun, is_wanted)
        return removed


def _remove(queues: MutableMapping[Any, deque[Job]], is_wanted: Callable[[Job], bool]) -> list[Job]:
    """Take what is wanted out of the queues, and out of the mapping those that are empty then."""
    removed: list[Job] = []
    for key, jobs in list(queues.items()):
        removed += [job for job in jobs if is_wanted(job)]
        kept = deque(job for job in jobs if not is_wanted(job))
        if kept:
            queues[key] = kept
        else:
            del queues[key]
    return removed
