"""The backlog: recipients of claimed batches that this node has not started yet, and the slots that wait for some."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from services.outbound_sender.held_batch import Job
from services.outbound_sender.host_places import NO_HOSTS
from services.outbound_sender.order_of_jobs import OrderOfJobs, Place, Slot, remove_from
from shared.contracts.topology import Lane
from shared.core.address import Address


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """A slot that waits for a job, and the destination and hosts that it has a connection to."""

    woken: asyncio.Future[None]
    near: str | None
    hosts: AbstractSet[str]


class Backlog:
    """What is to be started: express first, bulk in a fifth of the turns, mailings of a lane in turn.

    Connections are kept: whoever just sent to a destination gets the next recipient there. The recipients of a limited
    batch are one slot's, one after the other: `next` gives the first, `next_of` those that follow.

    A destination whose host has as many connections as it may have is *set aside*: only who has a connection there
    gets its jobs, the other slots go on with other destinations.
    """

    def __init__(self, destination: Callable[[Address], str]) -> None:
        """`destination` tells which recipients may share a connection."""
        self._destination = destination
        self._order = OrderOfJobs()
        #: Limited batches that no slot has begun, and those that one is at.
        self._limited: OrderedDict[int, deque[Job]] = OrderedDict()
        self._begun: dict[int, deque[Job]] = {}
        #: Destinations that are set aside, and the full host of each.
        self._full_hosts: dict[str, str] = {}
        self._waiting: deque[_Waiter] = deque()
        self._waiting_for_express: deque[_Waiter] = deque()
        self._size = 0

    def __len__(self) -> int:
        """What slots could take, those alone that have a connection there included: a limited batch counts once."""
        return self._size

    def add(self, jobs: Sequence[Job]) -> None:
        """Let the slots have these, which are of one batch."""
        if not jobs:
            return
        batch = jobs[0].held.batch
        if batch.limit is not None:
            self._limited[batch.id] = deque(jobs)
            self._size += 1
            self._wake_for(jobs[0])
            return
        self._size += len(jobs)
        for job in jobs:
            destination = self._destination(job.address)
            self._order.add(job, destination, self._full_hosts.get(destination))
            self._wake_for(job)

    def set_aside(self, job: Job, host: str) -> None:
        """Put the job back in front, with what follows it in a limited batch; its destination aside until `host` has
        room."""
        destination, batch = self._destination(job.address), job.held.batch
        before = self._full_hosts.get(destination)
        if before != host:
            self._full_hosts[destination] = host
            self._order.move(destination, before, host)
        if batch.limit is not None:
            self._limited[batch.id] = deque([job, *self.rest_of(job)])
        else:
            self._order.add(job, destination, host, in_front=True)
        self._size += 1
        self._wake_for(job)

    def has_room(self, hosts: AbstractSet[str] | None) -> None:
        """The host of these names has room for one connection more; `None`: any host has, for any number.

        One destination is set aside no more: were it all of a host's, each would be tried again for each place.
        """
        if hosts is None:
            for destination in list(self._full_hosts):
                self._bring_back(destination)
            self._wake_all()
            return
        full = self._full_hosts
        while (following := next((name for name in full if full[name] in hosts), None)) is not None:
            if self._bring_back(following):
                break
        if self._size:
            self._wake_one(self._waiting)
            if self._order.has(Lane.EXPRESS):
                self._wake_one(self._waiting_for_express)

    def _bring_back(self, destination: str) -> bool:
        """Set the destination aside no more; whether anything waits for it."""
        has_any = self._order.move(destination, self._full_hosts.pop(destination), None)
        return has_any or any(self._destination(jobs[0].address) == destination for jobs in self._limited.values())

    @property
    def set_aside_count(self) -> int:
        """How many of the backlog wait for room at their hosts."""
        if not self._full_hosts:
            return 0
        limited = sum(self._full_host_of(jobs[0]) is not None for jobs in self._limited.values())
        return limited + self.set_aside_in(tuple(Lane))

    def set_aside_in(self, lanes: Collection[Lane]) -> int:
        """How many jobs of these lanes that are under no limit wait for room at their hosts."""
        return self._order.waiting_for_hosts(lanes) if self._full_hosts else 0

    def _full_host_of(self, job: Job) -> str | None:
        return self._full_hosts.get(self._destination(job.address)) if self._full_hosts else None

    def _wake_for(self, job: Job) -> None:
        batch, host = job.held.batch, self._full_host_of(job)
        is_express = batch.lane is Lane.EXPRESS and batch.limit is None
        if host is None:
            _ = (is_express and self._wake_one(self._waiting_for_express)) or self._wake_one(self._waiting)
            return
        destination = self._destination(job.address)
        for waiting in (self._waiting_for_express, self._waiting) if is_express else (self._waiting,):
            for waiter in waiting:
                if not waiter.woken.done() and (waiter.near == destination or host in waiter.hosts):
                    waiter.woken.set_result(None)
                    waiting.remove(waiter)
                    return

    @staticmethod
    def _wake_one(waiting: deque[_Waiter]) -> bool:
        while waiting:
            waiter = waiting.popleft()
            if not waiter.woken.done():
                waiter.woken.set_result(None)
                return True
        return False

    def _wake_all(self) -> None:
        for waiting in (self._waiting, self._waiting_for_express):
            while self._wake_one(waiting):
                pass

    async def next(
        self,
        near: str | None,
        hosts: AbstractSet[str] = NO_HOSTS,
        *,
        only_express: bool = False,
        only_unlimited: bool = False,
    ) -> Job:
        """The next job, one for the destination `near` where the mailing whose turn it is has one.

        `hosts` are those that the slot has its connection to: it may take what waits for one of them.
        """
        waiting = self._waiting_for_express if only_express else self._waiting
        while (found := self._find(near, hosts, only_express=only_express, only_unlimited=only_unlimited)) is None:
            waiter = _Waiter(asyncio.get_running_loop().create_future(), near, hosts)
            waiting.append(waiter)
            try:
                await waiter.woken
            except asyncio.CancelledError:
                if waiter.woken.done() and not waiter.woken.cancelled():
                    self._wake_all()  # The job is for somebody who still waits.
                raise
        self._size -= 1
        if isinstance(found, Place):
            return self._order.take(found, near)
        jobs = self._begun[found] = self._limited.pop(found)
        return jobs.popleft()

    def has_for(self, near: str | None, hosts: AbstractSet[str] = NO_HOSTS, *, only_express: bool = False) -> bool:
        """Whether `next` would return at once."""
        return self._find(near, hosts, only_express=only_express) is not None

    def has_unlimited(self) -> bool:
        """Whether anything under no limit may start on a new connection."""
        return self._find(None, NO_HOSTS, only_express=False, only_unlimited=True) is not None

    def _find(
        self, near: str | None, hosts: AbstractSet[str], *, only_express: bool, only_unlimited: bool = False
    ) -> Place | int | None:
        """Where the slot's next job is, or of which limited batch it is the first."""
        if not self._size:
            return None
        slot = Slot(near, self._full_hosts.get(near) if near is not None else None, hosts)
        place = self._order.next_place(slot, only_express=only_express)
        if only_express or only_unlimited or (place is not None and place.lane is Lane.EXPRESS):
            return place
        # The moments of a limited batch pass; and the node holds only as many as it has connections to spare.
        for batch_id, jobs in self._limited.items():
            host = self._full_host_of(jobs[0])
            if host is None or host in hosts:
                return batch_id
        return place

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

    def more_like(self, job: Job, most: int, may_take: Callable[[], bool]) -> list[Job]:
        """Up to `most` further jobs that can share a transaction with `job`, while `may_take` says yes."""
        taken = self._order.more_like(job, self._destination(job.address), self._full_host_of(job), most, may_take)
        self._size -= len(taken)
        return taken

    def remove(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out every job that `is_wanted` says yes to and that no slot has; of limited batches that a slot is at
        too."""
        removed = self._order.remove(is_wanted)
        self._size -= len(removed)
        waiting = len(self._limited)
        removed += remove_from(self._limited, is_wanted)
        self._size -= waiting - len(self._limited)
        removed += remove_from(self._begun, is_wanted)
        if removed and self._full_hosts:
            self.has_room(None)  # A place may have been meant for one of these.
        return removed
