"""Taking work: claim a batch when there is room, keep count of what is held, hand back what is not started in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import structlog
from prometheus_client import Gauge

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.claiming import claim_batch
from services.outbound_sender.handing_back import HandBacks
from services.outbound_sender.held_batch import HeldBatch, Job
from services.outbound_sender.rendering import Renderer
from services.outbound_sender.stop_list import StopList
from shared.broker.connection import BrokerUnavailable
from shared.broker.consumer import Received
from shared.broker.publisher import Publisher
from shared.contracts.commands import SendBatch
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.domain_limit import DomainLimits
from shared.store import batches
from shared.store.engine import Database, StoreUnavailable
from shared.store.nodes import Lease
from shared.store.patience import until_available

_log = structlog.get_logger(__name__)

_in_hand = Gauge("listfleet_recipients_in_hand", "Recipients of claimed batches that have no outcome yet.")

#: A node claims as many recipients as it may start within so long.
ROOM_SECONDS = {Lane.EXPRESS: 2.0, Lane.POSTS: 2.0, Lane.BULK: 5.0}
#: What is not started after so long goes back to the others.
HOLD_SECONDS = 10.0
HOUSEKEEPING_SECONDS = 1.0
#: More than any batch has.
WHOLE = 1_000_000
#: Housekeeping turns between two comparisons of the rows with what is held.
RECONCILE_EVERY = 10


def _up_to(lane: Lane) -> tuple[Lane, ...]:
    """The lane and those that go before it."""
    lanes = tuple(Lane)
    return lanes[: lanes.index(lane) + 1]


def _most_held(capacity_per_second: float) -> int:
    """More recipients would go back to the others before they are started."""
    return max(1, int(capacity_per_second * HOLD_SECONDS))


class Taker:
    """The batches of this node, from the claim to the last outcome."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        renderer: Renderer,
        backlog: Backlog,
        stops: StopList,
        *,
        lease: Callable[[], Lease | None],
        capacity_per_second: Callable[[], float],
        limited_connections: Callable[[], int],
        domain_limits: Callable[[], DomainLimits],
        paced_mailings: Callable[[], AbstractSet[int]],
        serves: Callable[[Lane], bool],
        on_room: Callable[[Collection[str]], None],
    ) -> None:
        """`lease` is the one that is held, whether or not anything may be sent now: the capacity is 0 when not.
        `limited_connections` is how many connections limited batches may have, each of which takes one;
        `domain_limits` are those in force, `paced_mailings` those whose list has a rate; `serves` says of which lanes
        recipients are taken; `on_room` is told the queues that the node wants more work of."""
        self._database = database
        self._publisher = publisher
        self._renderer = renderer
        self._backlog = backlog
        self._stops = stops
        self._lease = lease
        self._capacity_per_second = capacity_per_second
        self._limited_connections = limited_connections
        self._domain_limits = domain_limits
        self._paced_mailings = paced_mailings
        self._serves = serves
        self._on_room = on_room
        self._held: dict[int, HeldBatch] = {}
        self._claiming = asyncio.Lock()
        self._hand_backs = HandBacks(database, self.ended)
        self._tasks: set[asyncio.Task[None]] = set()
        _in_hand.set_function(lambda: self.open)

    @property
    def unstarted(self) -> int:
        """Recipients in this node's hands that were not started."""
        return sum(len(held.unstarted) for held in self._held.values())

    @property
    def open(self) -> int:
        """Recipients in this node's hands that have no outcome."""
        return sum(len(held.open) for held in self._held.values())

    def unstarted_of(self, batch_ids: Sequence[int]) -> Mapping[int, int]:
        """How many recipients of each of these batches are not started."""
        counts: dict[int, int] = {}
        for batch_id in batch_ids:
            held = self._held.get(batch_id)
            if held is not None:
                counts[batch_id] = held.reported_unstarted = len(held.unstarted)
        return counts

    def room(self, lane: Lane) -> int:
        """How many recipients more the node may claim in the lane: what it starts soon, less what it has of this lane
        and of those that go before it."""
        capacity = self._capacity_per_second()
        if capacity <= 0 or not self._serves(lane):
            return 0
        soon, unstarted = max(1, int(capacity * ROOM_SECONDS[lane])), self._unstarted_before(lane)
        return min(soon - self._startable(lane, unstarted), _most_held(capacity) - unstarted)

    @property
    def limited_room(self) -> int:
        """How many limited batches more the node may claim: they wait for their moments on a connection each."""
        if self._capacity_per_second() <= 0:
            return 0
        return self._limited_connections() - sum(held.moments is not None for held in self._held.values())

    def _unstarted_before(self, lane: Lane) -> int:
        before = _up_to(lane)
        return sum(
            len(held.unstarted) for held in self._held.values() if held.moments is None and held.batch.lane in before
        )

    def _startable(self, lane: Lane, unstarted: int) -> int:
        """What of these waits for no host: those that do shall not keep others' mail away."""
        return unstarted - self._backlog.set_aside_in(_up_to(lane))

    def look_for_room(self) -> None:
        """Take work while less than half of what can soon be started is there; then batches are claimed whole."""
        capacity = self._capacity_per_second()
        wanted = {
            lane.queue for lane in Lane if capacity > 0 and self._serves(lane) and self._has_little(lane, capacity)
        }
        if self.limited_room > 0:
            wanted |= {lane.limited_queue for lane in Lane if self._serves(lane)}
        self._on_room(wanted)

    def _has_little(self, lane: Lane, capacity: float) -> bool:
        unstarted = self._unstarted_before(lane)
        few = capacity * ROOM_SECONDS[Lane.POSTS] / 2
        return self._startable(lane, unstarted) <= few and unstarted < _most_held(capacity)

    async def take(self, received: Received[SendBatch], lane: Lane) -> None:
        """Claim the batch and let the slots have its recipients, or let another node have it."""
        async with self._claiming:
            lease, room = self._lease(), self.room(lane)
            if lease is None or room < 1:
                await self._pass_on(received, lane.queue)
                return
            held = await claim_batch(
                self._database,
                received.payload.batch_id,
                lease,
                at_most=room,
                on_all_started=lambda: self._spawn(received.acknowledge()),
            )
            if held is None:
                await received.acknowledge()
                return
            await self._hold(held, lease)
        self.look_for_room()

    async def take_limited(self, received: Received[SendBatch], lane: Lane) -> None:
        """Claim a limited batch whole, for one slot, or let another node have it."""
        async with self._claiming:
            lease = self._lease()
            if lease is None or self.limited_room < 1 or not self._serves(lane):
                await self._pass_on(received, lane.limited_queue)
                return
            batch_id = received.payload.batch_id
            held = await claim_batch(self._database, batch_id, lease, at_most=WHOLE, on_all_started=_nothing)
            # Whoever holds it is in its row; the broker need not wait for its moments.
            await received.acknowledge()
            if held is not None:
                await self._hold(held, lease)
        self.look_for_room()

    async def _hold(self, held: HeldBatch, lease: Lease) -> None:
        batch = held.batch
        held.content = await until_available(lambda: self._renderer.for_batch(batch), doing="content")
        if self._lease() != lease:
            held.on_all_started()  # Taken over while the database was down: the claim is nobody's.
            return
        jobs = [Job(held, recipient, Address.parse(recipient.address)) for recipient in batch.recipients]
        self._held[held.id] = held
        self._stops.claimed(held.open, [job.address for job in jobs], held.claimed_at_seconds)
        self._backlog.add(self._without_misfits(jobs))

    def _without_misfits(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Those under the limits that they were taken for; the others go back."""
        batch = jobs[0].held.batch
        if not self._domain_limits() and not batch.domain_limit and batch.mailing_id not in self._paced_mailings():
            return jobs
        fitting = []
        for job in jobs:
            right = self._right_limit(job)
            if right is None:
                fitting.append(job)
            else:
                self.hand_back([job], domain_limit=right)
        return fitting

    def hand_back_misfits(self) -> None:
        """Other limits are in force: what waits here and was taken for others goes back."""
        for job in self._backlog.remove(lambda job: self._right_limit(job) is not None):
            self.hand_back([job], domain_limit=self._right_limit(job))

    def _right_limit(self, job: Job) -> str | None:
        """The domain's limit under which the job is to go back, since its domain's or its list's is not the one that it
        was taken for; `None` when it may stay."""
        batch = job.held.batch
        right = self._domain_limits().correction(job.address.ascii_domain, batch.domain_limit)
        if right is None and batch.mailing_id in self._paced_mailings() and not batch.is_paced:
            return batch.domain_limit
        return right

    async def _pass_on(self, received: Received[SendBatch], queue: str) -> None:
        """A fresh copy for somebody with room, then this one is done: never a nack, which RabbitMQ would count."""
        self.look_for_room()
        try:
            await self._publisher.publish(queue, received.payload)
        except BrokerUnavailable as error:
            _log.warning("left to the sweep", batch=received.payload.batch_id, error=str(error))
        await received.acknowledge()

    def holds(self, job: Job) -> bool:
        """Whether the job's claim is still ours, as far as the node knows."""
        return self._held.get(job.held.id) is job.held

    def started(self, job: Job) -> None:
        """The job's transaction begins now."""
        job.held.leave_unstarted(job.recipient.delivery_id)

    def ended(self, job: Job) -> None:
        """The job's outcome is committed."""
        job.held.open.discard(job.recipient.delivery_id)
        if not job.held.open:
            self._held.pop(job.held.id, None)

    def hand_back_stopped(self) -> None:
        """Let go of what must not start any more."""
        self.hand_back(self._backlog.remove(self._stops.covers))

    def hand_back(self, jobs: Sequence[Job], *, domain_limit: str | None = None) -> None:
        """Let others have jobs that are in no slot and not started; with `domain_limit`, under that limit."""
        self._hand_backs.add(jobs, domain_limit=domain_limit)

    def hand_back_all(self) -> None:
        """Let others have everything that waits."""
        self.hand_back(self._backlog.remove(lambda _job: True))

    def hand_back_unserved(self) -> None:
        """Others have what waits in the lanes that this node does not serve any more."""
        self.hand_back(self._backlog.remove(lambda job: not self._serves(job.held.batch.lane)))

    def forget_all(self) -> None:
        """The lease is gone, and with it every claim: what was not started is not ours any more."""
        self._backlog.remove(lambda _job: True)
        for held in self._held.values():
            held.unstarted.clear()
            held.on_all_started()
        self._held.clear()

    async def settle(self) -> None:
        """Return when every hand-back is committed, and the broker knows what is done."""
        await self._hand_backs.settle()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def run(self) -> None:
        """Housekeeping until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            turn += 1
            self.look_for_room()
            self.hand_back(self._backlog.remove(self._is_held_too_long))
            try:
                await self._report_unstarted()
                if turn % RECONCILE_EVERY == 0:
                    await self._reconcile()
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("housekeeping put off", error=str(error))

    def _is_held_too_long(self, job: Job) -> bool:
        return asyncio.get_running_loop().time() - job.held.claimed_at_seconds > HOLD_SECONDS

    async def _report_unstarted(self) -> None:
        """Rows learn of starts with the outcomes; what was started and has none yet is told here."""
        changed = [held for held in self._held.values() if held.reported_unstarted != len(held.unstarted)]
        if not changed:
            return
        told = {held.id: (held.claim, len(held.unstarted)) for held in changed}
        async with self._database.raw() as connection:
            await batches.report_unstarted(connection, told)
        for held in changed:
            _, held.reported_unstarted = told[held.id]

    async def _reconcile(self) -> None:
        """Hand back claims that are ours by the rows and unknown here: their answers were lost."""
        async with self._claiming:
            lease = self._lease()
            if lease is None:
                return
            async with self._database.raw() as connection:
                for batch_id, claim in (await batches.claimed_by(connection, lease.incarnation)).items():
                    if batch_id not in self._held:
                        _log.warning("claim handed back whole", batch=batch_id)
                        await batches.hand_back_whole(connection, batch_id, claim)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _nothing() -> None:
    """The broker's message is gone already."""
