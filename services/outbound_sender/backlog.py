"""The backlog: recipients of claimed batches that this node has not started yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.outbound_sender.copies import Copies, WireContent
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.delivery import Outcome
from shared.store.batches import ClaimedBatch, Recipient


@dataclass(slots=True)
class HeldBatch:
    """A claimed batch, what of it is not started, and what has no outcome yet."""

    batch: ClaimedBatch
    #: What to send, or what every recipient comes to without sending.
    content: WireContent | Copies | Outcome
    claimed_at_seconds: float
    #: Called once, when nothing of the batch is unstarted: the broker's message can go.
    on_all_started: Callable[[], None]
    unstarted: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    #: What the batch's row says about `unstarted`.
    reported_unstarted: int = 0

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


class Backlog:
    """What is to be started, express before posts before bulk; within a lane in order, but destinations together.

    Connections are kept: whoever just sent to a destination gets the next recipient there.
    """

    def __init__(self, destination: Callable[[Address], str]) -> None:
        """`destination` tells which recipients may share a connection."""
        self._destination = destination
        self._lanes: dict[Lane, OrderedDict[str, deque[Job]]] = {lane: OrderedDict() for lane in Lane}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, jobs: Sequence[Job]) -> None:
        """Let the slots have these."""
        for job in jobs:
            destinations = self._lanes[job.held.batch.lane]
            destinations.setdefault(self._destination(job.address), deque()).append(job)
        self._size += len(jobs)
        for _ in jobs:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def next(self, near: str | None) -> Job:
        """The next job, one for the destination `near` where the lane has it."""
        while not self._size:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # The job is for somebody who still waits.
                raise
        return self._take(near)

    def _take(self, near: str | None) -> Job:
        destinations = next(lane for lane in self._lanes.values() if lane)
        destination = near if near in destinations else next(iter(destinations))
        assert destination is not None  # noqa: S101 - `None` is no key
        jobs = destinations[destination]
        job = jobs.popleft()
        if not jobs:
            del destinations[destination]
        self._size -= 1
        return job

    def remove(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out every job that `is_wanted` says yes to."""
        removed: list[Job] = []
        for destinations in self._lanes.values():
            for destination in list(destinations):
                jobs = destinations[destination]
                removed += [job for job in jobs if is_wanted(job)]
                kept = deque(job for job in jobs if not is_wanted(job))
                if kept:
                    destinations[destination] = kept
                else:
                    del destinations[destination]
        self._size -= len(removed)
        return removed
