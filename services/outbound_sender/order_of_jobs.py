"""In which order jobs are started: lanes by their weights, mailings of a lane in turn, destinations of a mailing."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, MutableMapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from services.outbound_sender.held_batch import Job
from shared.contracts.topology import Lane

#: Of so many jobs that are no express mail, one is bulk while both wait; the others are posts.
TAKES_A_BULK = 5
#: A destination gets no more than so many jobs of a mailing in a row while another waits.
MAX_IN_A_ROW = 10

_EXPRESS = (Lane.EXPRESS,)
_POSTS_FIRST = (Lane.EXPRESS, Lane.POSTS, Lane.BULK)
_BULK_FIRST = (Lane.EXPRESS, Lane.BULK, Lane.POSTS)

_Destinations = OrderedDict[str, deque[Job]]


class Slot(NamedTuple):
    """What is to be known of a connection slot that wants a job."""

    #: The destination that its connection was opened for.
    near: str | None
    #: The full host that `near` waits for, if it is set aside.
    host_of_near: str | None
    #: The hosts that the connection goes to: it may take what waits for one of them.
    hosts: AbstractSet[str]


class Place(NamedTuple):
    """Where a job is."""

    lane: Lane
    mailing_id: int
    #: The full host that its destination waits for; `None` when it waits for none.
    host: str | None
    destination: str


class _Mailing:
    """A mailing's jobs by destination, in order; those that wait for a full host apart, by that host."""

    def __init__(self) -> None:
        self.by_host: dict[str | None, _Destinations] = {}
        self._in_a_row = 0

    def jobs_for(self, destination: str, host: str | None) -> deque[Job]:
        return self.by_host.setdefault(host, OrderedDict()).setdefault(destination, deque())

    def next_for(self, slot: Slot) -> tuple[str | None, str] | None:
        """Host and destination of the slot's next job: near its connection, but not for ever."""
        is_near = slot.near is not None and slot.near in self.by_host.get(slot.host_of_near, ())
        if is_near and self._in_a_row < MAX_IN_A_ROW:
            return slot.host_of_near, slot.near  # type: ignore[return-value]  # not `None`: `is_near`
        own = [host for host in slot.hosts if host in self.by_host]
        for host in (*own, None) if self._in_a_row < MAX_IN_A_ROW else (None, *own):
            if host in self.by_host:
                return host, next(iter(self.by_host[host]))
        return (slot.host_of_near, slot.near) if is_near else None  # type: ignore[return-value]

    def take(self, host: str | None, destination: str, near: str | None) -> Job:
        goes_on = self._in_a_row < MAX_IN_A_ROW and (destination == near or host is not None)
        self._in_a_row = self._in_a_row + 1 if goes_on else 0
        destinations = self.by_host[host]
        job = destinations[destination].popleft()
        if not self.dropped(host, destination) and not goes_on:
            destinations.move_to_end(destination)
        return job

    def dropped(self, host: str | None, destination: str) -> bool:
        """Whether nothing is left there, which is forgotten then."""
        destinations = self.by_host[host]
        if destinations[destination]:
            return False
        del destinations[destination]
        if not destinations:
            del self.by_host[host]
        return True


class OrderOfJobs:
    """The jobs of batches that are under no limit.

    Lanes and mailings are looked through, destinations never: whatever is set aside is in nobody's way.
    """

    def __init__(self) -> None:
        self._lanes: dict[Lane, OrderedDict[int, _Mailing]] = {lane: OrderedDict() for lane in Lane}
        self._takes = 0

    def has(self, lane: Lane) -> bool:
        """Whether there is anything of the lane, for any slot."""
        return bool(self._lanes[lane])

    def add(self, job: Job, destination: str, host: str | None, *, in_front: bool = False) -> None:
        """With `host`, for those alone who have a connection there."""
        batch = job.held.batch
        jobs = self._lanes[batch.lane].setdefault(batch.mailing_id, _Mailing()).jobs_for(destination, host)
        if in_front:
            jobs.appendleft(job)
        else:
            jobs.append(job)

    def next_place(self, slot: Slot, *, only_express: bool = False) -> Place | None:
        """Where the slot's next job is."""
        return self._next_place(slot, _EXPRESS if only_express else self._order())

    def _order(self) -> tuple[Lane, ...]:
        return _BULK_FIRST if (self._takes + 1) % TAKES_A_BULK == 0 else _POSTS_FIRST

    def _next_place(self, slot: Slot, lanes: Collection[Lane]) -> Place | None:
        for lane in lanes:
            for mailing_id, mailing in self._lanes[lane].items():
                found = mailing.next_for(slot)
                if found is not None:
                    return Place(lane, mailing_id, *found)
        return None

    def take(self, place: Place, near: str | None) -> Job:
        """The job at the place; its mailing's next turn is after the others'."""
        mailings = self._lanes[place.lane]
        mailing = mailings[place.mailing_id]
        job = mailing.take(place.host, place.destination, near)
        if mailing.by_host:
            mailings.move_to_end(place.mailing_id)
        else:
            del mailings[place.mailing_id]
        self._takes += place.lane is not Lane.EXPRESS
        return job

    def more_like(
        self, job: Job, destination: str, host: str | None, most: int, may_take: Callable[[], bool]
    ) -> list[Job]:
        """Up to `most` further jobs that can share a transaction with `job`, while `may_take` says yes."""
        batch = job.held.batch
        mailings = self._lanes[batch.lane]
        mailing = mailings.get(batch.mailing_id)
        if mailing is None or destination not in mailing.by_host.get(host, ()):
            return []
        jobs = mailing.jobs_for(destination, host)
        taken: list[Job] = []
        while jobs and len(taken) < most and _goes_with(jobs[0], job) and may_take():
            taken.append(jobs.popleft())
        if mailing.dropped(host, destination) and not mailing.by_host:
            del mailings[batch.mailing_id]
        return taken

    def move(self, destination: str, from_host: str | None, to_host: str | None) -> bool:
        """Let the destination's jobs wait for another host, `None` for no host; whether there are any."""
        has_any = False
        for mailings in self._lanes.values():
            for mailing in mailings.values():
                if destination in mailing.by_host.get(from_host, ()):
                    jobs = mailing.jobs_for(destination, from_host)
                    mailing.jobs_for(destination, to_host).extend(jobs)
                    jobs.clear()
                    mailing.dropped(from_host, destination)
                    has_any = True
        return has_any

    def waiting_for_hosts(self, lanes: Collection[Lane]) -> int:
        """How many jobs of these lanes wait for room at their hosts."""
        return sum(
            len(jobs)
            for lane in lanes
            for mailing in self._lanes[lane].values()
            for host, destinations in mailing.by_host.items()
            if host is not None
            for jobs in destinations.values()
        )

    def remove(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out every job that `is_wanted` says yes to."""
        removed: list[Job] = []
        for mailings in self._lanes.values():
            for mailing_id, mailing in list(mailings.items()):
                for host, destinations in list(mailing.by_host.items()):
                    removed += remove_from(destinations, is_wanted)
                    if not destinations:
                        del mailing.by_host[host]
                if not mailing.by_host:
                    del mailings[mailing_id]
        return removed


def remove_from(queues: MutableMapping[Any, deque[Job]], is_wanted: Callable[[Job], bool]) -> list[Job]:
    """Take what is wanted out of the queues, and out of the mapping those that are empty then."""
    removed: list[Job] = []
    for key, jobs in list(queues.items()):
        wanted = [job for job in jobs if is_wanted(job)]
        if not wanted:
            continue
        removed += wanted
        taken = set(wanted)
        kept = deque(job for job in jobs if job not in taken)
        if kept:
            queues[key] = kept
        else:
            del queues[key]
    return removed


def _goes_with(other: Job, job: Job) -> bool:
    # SMTPUTF8 is a parameter of MAIL: it would bar the others where it is not offered (RFC 6531 §3.4).
    same_parameters = other.address.needs_smtputf8 is job.address.needs_smtputf8
    return other.held.content is job.held.content and same_parameters
