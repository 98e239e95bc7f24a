"""The backlog: recipients of claimed batches that this node has not started yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from uuid import UUID

from services.outbound_sender.copies import Copies, WireContent
from services.outbound_sender.host_places import NO_HOSTS
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.delivery import Outcome
from shared.store.claims import ClaimedBatch, Recipient


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


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """A slot that waits for a job, and the destination and hosts that it has a connection to."""

    woken: asyncio.Future[None]
    near: str | None
    hosts: AbstractSet[str]


class Backlog:
    """What is to be started, express before posts before bulk; within a lane in order, but destinations together.

    Connections are kept: whoever just sent to a destination gets the next recipient there.

    A destination whose host has as many connections as it may have is *set aside*: only who has a connection there
    gets its jobs, the other slots go on with other destinations.
    """

    def __init__(self, destination: Callable[[Address], str]) -> None:
        """`destination` tells which recipients may share a connection."""
        self._destination = destination
        self._lanes: dict[Lane, OrderedDict[str, deque[Job]]] = {lane: OrderedDict() for lane in Lane}
        #: Destinations that are set aside, and the full host of each.
        self._full_hosts: dict[str, str] = {}
        self._waiting: deque[_Waiter] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, jobs: Sequence[Job]) -> None:
        """Let the slots have these."""
        for job in jobs:
            destination = self._destination(job.address)
            self._lanes[job.held.batch.lane].setdefault(destination, deque()).append(job)
            self._size += 1
            self._wake_for(destination)

    def set_aside(self, job: Job, host: str) -> None:
        """Put the job back in front, and its destination aside until `host` has room."""
        destination = self._destination(job.address)
        self._lanes[job.held.batch.lane].setdefault(destination, deque()).appendleft(job)
        self._size += 1
        self._full_hosts[destination] = host
        self._wake_for(destination)

    def has_room(self, hosts: AbstractSet[str] | None) -> None:
        """The host of these names has room for one connection more; `None`: any host has, for any number.

        One destination is set aside no more: were it all of a host's, each would be tried again for each place.
        """
        if hosts is None:
            self._full_hosts.clear()
            self._wake_all()
            return
        for destination in [name for name, host in self._full_hosts.items() if host in hosts]:
            del self._full_hosts[destination]
            if any(destination in destinations for destinations in self._lanes.values()):
                break
        if self._size:
            self._wake_one()

    @property
    def set_aside_count(self) -> int:
        """How many jobs wait for room at their hosts."""
        if not self._full_hosts:
            return 0
        return sum(
            len(jobs)
            for destinations in self._lanes.values()
            for destination, jobs in destinations.items()
            if destination in self._full_hosts
        )

    def _wake_for(self, destination: str) -> None:
        host = self._full_hosts.get(destination)
        if host is None:
            self._wake_one()
            return
        for waiter in self._waiting:
            if not waiter.woken.done() and (waiter.near == destination or host in waiter.hosts):
                waiter.woken.set_result(None)
                self._waiting.remove(waiter)
                return

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.woken.done():
                waiter.woken.set_result(None)
                return

    def _wake_all(self) -> None:
        for _ in range(len(self._waiting)):
            self._wake_one()

    async def next(self, near: str | None, hosts: AbstractSet[str] = NO_HOSTS) -> Job:
        """The next job, one for the destination `near` where the lane has it.

        `hosts` are those that the slot has its connection to: it may take what waits for one of them.
        """
        while (job := self._take(near, hosts)) is None:
            waiter = _Waiter(asyncio.get_running_loop().create_future(), near, hosts)
            self._waiting.append(waiter)
            try:
                await waiter.woken
            except asyncio.CancelledError:
                if waiter.woken.done() and not waiter.woken.cancelled():
                    self._wake_all()  # The job is for somebody who still waits.
                raise
        return job

    def has_for(self, near: str | None, hosts: AbstractSet[str] = NO_HOSTS) -> bool:
        """Whether `next` would return at once."""
        return self._size > 0 and self._place(near, hosts) is not None

    def _take(self, near: str | None, hosts: AbstractSet[str]) -> Job | None:
        place = self._place(near, hosts) if self._size else None
        if place is None:
            return None
        destinations, destination = place
        jobs = destinations[destination]
        job = jobs.popleft()
        if not jobs:
            del destinations[destination]
        self._size -= 1
        return job

    def _place(self, near: str | None, hosts: AbstractSet[str]) -> tuple[OrderedDict[str, deque[Job]], str] | None:
        """The lane and the destination of the next job."""
        for destinations in self._lanes.values():
            if near is not None and near in destinations:
                return destinations, near
            for destination in destinations:
                host = self._full_hosts.get(destination)
                if host is None or host in hosts:
                    return destinations, destination
        return None

    def more_like(self, job: Job, most: int, may_take: Callable[[], bool]) -> list[Job]:
        """Up to `most` further jobs that can share a transaction with `job`, while `may_take` says yes."""
        destination = self._destination(job.address)
        destinations = self._lanes[job.held.batch.lane]
        jobs = destinations.get(destination, deque())
        taken: list[Job] = []
        while jobs and len(taken) < most and _goes_with(jobs[0], job) and may_take():
            taken.append(jobs.popleft())
        if taken and not jobs:
            del destinations[destination]
        self._size -= len(taken)
        return taken

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
        if removed and self._full_hosts:
            self.has_room(None)  # A place may have been meant for one of these.
        return removed


def _goes_with(other: Job, job: Job) -> bool:
    # SMTPUTF8 is a parameter of MAIL: it would bar the others where it is not offered (RFC 6531 §3.4).
    same_parameters = other.address.needs_smtputf8 is job.address.needs_smtputf8
    return other.held.content is job.held.content and same_parameters
