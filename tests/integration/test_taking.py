"""A node and its batches: taken while there is room, handed back whatever interrupts, forgotten when taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from functools import partial
from typing import Any, cast

import pytest

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.held_batch import Job
from services.outbound_sender.limits import Limiter
from services.outbound_sender.rendering import Renderer
from services.outbound_sender.stop_list import StopList
from services.outbound_sender.taking import Taker
from shared.broker.consumer import Received
from shared.broker.publisher import Publisher
from shared.contracts.base import Payload
from shared.contracts.commands import SendBatch
from shared.contracts.topology import Lane
from shared.core.domain_limit import DomainLimits
from shared.mail.dkim import SigningKey
from shared.store import contents
from shared.store.contents import MailingContent
from shared.store.engine import Database, RawConnection
from shared.store.nodes import Lease
from tests.fakes.waiting import until
from tests.integration import stored
from tests.integration.stored import DELIVERED


class FakeMessage:
    """The broker's message: counts how often it is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged = 0

    async def ack(self) -> None:
        self.acknowledged += 1


class FakePublisher(Publisher):
    """Keeps what is published."""

    def __init__(self) -> None:
        super().__init__("amqp://nowhere.invalid/", name="fake")
        self.published: list[Payload] = []

    async def publish(self, _queue: str, payload: Payload) -> None:
        self.published.append(payload)


class Node:
    """A taker with a lease and a capacity that a test sets."""

    def __init__(self, database: Database, lease: Lease) -> None:
        self.database = database
        self.lease: Lease | None = lease
        self.capacity = 1000.0
        self.wants_work = False
        self.domain_limits: list[str] = []
        self.paced_mailings: set[int] = set()
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.backlog = Backlog(lambda _address: "relay")
        self.publisher = FakePublisher()
        self.limiter = Limiter()
        self.stops = StopList()
        self.lanes = set(Lane)
        self.taker = Taker(
            database,
            self.publisher,
            Renderer(self._load, self._keys, secret=b"sixteen octets or more"),
            self.backlog,
            self.stops,
            lease=lambda: self.lease,
            capacity_per_second=lambda: self.capacity,
            limited_connections=lambda: 2,
            domain_limits=lambda: DomainLimits(self.domain_limits),
            paced_mailings=lambda: self.paced_mailings,
            serves=lambda lane: lane in self.lanes,
            on_room=self._on_room,
        )

    def _on_room(self, queues: Collection[str]) -> None:
        self.wants_work = Lane.POSTS.queue in queues

    async def _load(self, mailing_id: int) -> MailingContent:
        await self.may_load.wait()
        async with self.database.raw() as connection:
            content = await contents.load(connection, mailing_id)
        assert content is not None
        return content

    async def _keys(self, _domain: str) -> tuple[SigningKey, ...]:
        return ()

    async def take(self, batch_id: int, message: FakeMessage | None = None) -> FakeMessage:
        message = message or FakeMessage()
        await self.taker.take(Received(SendBatch(batch_id), cast("Any", message)), Lane.POSTS)
        return message

    async def jobs(self) -> list[Job]:
        return [await self.backlog.next(None) for _ in range(len(self.backlog))]


@pytest.fixture
async def node(database_url: str, connection: RawConnection) -> AsyncIterator[Node]:
    database = Database(database_url, name="test", pool_size=3)
    yield Node(database, await stored.new_lease(connection))
    await database.close()


async def released(connection: RawConnection, size: int) -> int:
    (batch_id,) = await stored.release_all(connection, await stored.new_mailing(connection, size), batch_size=size)
    return batch_id


async def claimed_rows(connection: RawConnection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM batches WHERE state = 'claimed'"))


async def is_claimed(connection: RawConnection) -> bool:
    return await claimed_rows(connection) > 0


async def test_a_taken_batch_is_acknowledged_once_nothing_of_it_is_unstarted(
    connection: RawConnection, node: Node
) -> None:
    message = await node.take(await released(connection, 3))
    jobs = await node.jobs()
    assert (node.taker.unstarted, node.taker.open, message.acknowledged) == (3, 3, 0)
    for job in jobs:
        assert node.taker.holds(job)
        node.taker.started(job)
    await node.taker.settle()
    assert (node.taker.unstarted, node.taker.open, message.acknowledged) == (0, 3, 1)


async def test_a_message_without_a_batch_to_be_had_is_acknowledged_and_forgotten(
    connection: RawConnection, node: Node
) -> None:
    batch_id = await released(connection, 3)
    await stored.claim(connection, batch_id, await stored.new_lease(connection))
    for gone in (batch_id, 4711):
        assert (await node.take(gone)).acknowledged == 1
    assert len(node.backlog) == 0


async def test_a_second_copy_of_a_message_takes_nothing_twice(connection: RawConnection, node: Node) -> None:
    batch_id = await released(connection, 3)
    await asyncio.gather(*(node.take(batch_id) for _ in range(3)))
    assert len(node.backlog) == node.taker.open == 3


async def test_without_room_the_message_is_published_anew_and_acknowledged(
    connection: RawConnection, node: Node
) -> None:
    node.capacity, node.wants_work = 0.0, True
    batch_id = await released(connection, 3)
    message = await node.take(batch_id)
    assert (message.acknowledged, node.publisher.published, node.wants_work) == (1, [SendBatch(batch_id)], False)
    assert (await stored.batch_row(connection, batch_id)).state == "released"


async def test_what_is_of_a_lane_that_the_node_does_not_serve_goes_to_another_node(
    connection: RawConnection, node: Node
) -> None:
    node.lanes = {Lane.BULK}
    batch_id = await released(connection, 3)
    message = await node.take(batch_id)
    assert (message.acknowledged, node.publisher.published) == (1, [SendBatch(batch_id)])


async def test_a_lane_that_is_not_served_any_more_goes_back(connection: RawConnection, node: Node) -> None:
    await node.take(await released(connection, 3))
    node.lanes = {Lane.BULK}
    node.taker.hand_back_unserved()
    await node.taker.settle()
    assert (len(node.backlog), node.taker.open) == (0, 0)
    assert await connection.fetchval("SELECT count(*) FROM outstanding WHERE batch_id IS NULL") == 3


async def test_what_waits_for_a_full_host_leaves_room_for_others_mail(connection: RawConnection, node: Node) -> None:
    node.capacity = 2.0
    await node.take(await released(connection, 4))
    assert node.taker.room(Lane.POSTS) == 0
    node.backlog.set_aside(await node.backlog.next(None), "relay.example")
    node.taker.look_for_room()
    assert (node.taker.room(Lane.POSTS), node.wants_work) == (4, True)
    node.capacity = 0.4
    assert node.taker.room(Lane.POSTS) == 0, "it does not claim what it cannot start before it goes back"


async def test_a_node_claims_no_more_than_it_may_start_soon(connection: RawConnection, node: Node) -> None:
    node.capacity = 2.0
    await node.take(await released(connection, 50))
    assert len(node.backlog) == 4
    assert not node.wants_work


@pytest.mark.parametrize("how", ["sending off", "drain"])
async def test_what_was_claimed_while_the_node_was_stopped_goes_back(
    connection: RawConnection, node: Node, how: str
) -> None:
    """The stop comes between the claim and the compiled content: nothing may stay claimed and unsent."""
    node.may_load.clear()
    taking = asyncio.create_task(node.take(await released(connection, 5)))
    await until(partial(is_claimed, connection))
    node.capacity = 0.0
    node.taker.hand_back_all()
    node.may_load.set()
    message = await taking
    # As the slots do, which may start nothing; or as the drain does.
    if how == "drain":
        node.taker.hand_back_all()
    else:
        for job in await node.jobs():
            node.taker.hand_back([job])
    await node.taker.settle()
    assert await claimed_rows(connection) == 0
    assert (node.taker.unstarted, node.taker.open, message.acknowledged) == (0, 0, 1)
    rows = await connection.fetch("SELECT DISTINCT batch_id, attempt, deaths FROM outstanding")
    assert [tuple(row) for row in rows] == [(None, 1, 0)]


async def test_a_claim_whose_answer_never_came_is_handed_back_even_while_sending_is_off(
    connection: RawConnection, node: Node
) -> None:
    batch_id = await released(connection, 5)
    assert node.lease is not None
    await stored.claim(connection, batch_id, node.lease)
    node.capacity = 0.0
    await node.taker._reconcile()
    assert (await stored.batch_row(connection, batch_id)).state == "closed"


async def test_what_is_held_is_not_taken_for_lost(connection: RawConnection, node: Node) -> None:
    await node.take(await released(connection, 5))
    await node.taker._reconcile()
    assert await claimed_rows(connection) == 1


async def test_after_a_takeover_nothing_of_the_old_claims_may_start(connection: RawConnection, node: Node) -> None:
    message = await node.take(await released(connection, 5))
    in_slot = await node.backlog.next(None)
    in_flight = await node.backlog.next(None)
    node.taker.started(in_flight)
    assert node.lease is not None
    await stored.lose(connection, node.lease)
    node.taker.forget_all()
    node.lease = await stored.new_lease(connection)
    assert len(node.backlog) == node.taker.unstarted == node.taker.open == 0
    assert not node.taker.holds(in_slot)
    # The slots come to an end with what they had.
    node.taker.hand_back([in_slot])
    await stored.record(connection, [stored.report(in_flight.held.batch, in_flight.recipient, DELIVERED)])
    node.taker.ended(in_flight)
    await node.taker.settle()
    assert message.acknowledged == 1
    assert await stored.states(connection, in_flight.held.batch.mailing_id) == {"delivered": 1, "open": 4}
    # And the node works on.
    await node.take(await released(connection, 3))
    assert all(node.taker.holds(job) for job in await node.jobs())


async def test_a_claim_that_was_taken_over_before_its_content_came_is_let_go(
    connection: RawConnection, node: Node
) -> None:
    node.may_load.clear()
    taking = asyncio.create_task(node.take(await released(connection, 5)))
    await until(partial(is_claimed, connection))
    assert node.lease is not None
    await stored.lose(connection, node.lease)
    node.taker.forget_all()
    node.lease = await stored.new_lease(connection)
    node.may_load.set()
    message = await taking
    assert (len(node.backlog), node.taker.open, message.acknowledged) == (0, 0, 1)


async def test_a_thousand_jobs_go_back_batch_by_batch(connection: RawConnection, node: Node) -> None:
    for _ in range(5):
        await node.take(await released(connection, 200))
    jobs = await node.jobs()
    for job in jobs:
        node.taker.hand_back([job])
    assert [task.get_name() for task in asyncio.all_tasks()].count("hand-backs") == 1
    await node.taker.settle()
    assert await claimed_rows(connection) == 0
    assert await connection.fetchval("SELECT count(*) FROM outstanding WHERE batch_id IS NULL") == 1000


async def test_a_cancelled_second_copy_that_was_not_started_is_never_sent(
    connection: RawConnection, node: Node
) -> None:
    dead = await stored.new_lease(connection)
    theirs = await stored.claimed_mailing(connection, 3, dead)
    await stored.lose(connection, dead)
    (batch_id,) = await stored.release_all(connection, theirs.mailing_id)
    await node.take(batch_id)
    late = await stored.record(connection, [stored.report(theirs, theirs.recipients[0], DELIVERED)])
    for ids in late.to_cancel.values():
        node.stops.hear(ids)
    node.taker.hand_back_stopped()
    await node.taker.settle()
    assert [job.recipient.delivery_id for job in await node.jobs()] == [
        recipient.delivery_id for recipient in theirs.recipients[1:]
    ]
    assert await connection.fetchval("SELECT count(*) FROM outstanding") == 2


async def test_rows_learn_how_much_is_unstarted(connection: RawConnection, node: Node) -> None:
    batch_id = await released(connection, 4)
    await node.take(batch_id)
    jobs = await node.jobs()
    for job in jobs[:3]:
        node.taker.started(job)
    await node.taker._report_unstarted()
    assert (await stored.batch_row(connection, batch_id)).unstarted == 1
    node.taker.started(jobs[3])
    await node.taker._report_unstarted()
    assert (await stored.batch_row(connection, batch_id)).unstarted == 0


# Limits of domains and lists


async def limited(connection: RawConnection, size: int, domain_limit: str = "example.com") -> int:
    batch_id = await released(connection, size)
    await connection.execute(
        "UPDATE batches SET is_limited = true, domain_limit = $2 WHERE id = $1", batch_id, domain_limit
    )
    return batch_id


async def take_limited(node: Node, batch_id: int) -> FakeMessage:
    message = FakeMessage()
    await node.taker.take_limited(Received(SendBatch(batch_id), cast("Any", message)), Lane.POSTS)
    return message


async def test_a_limited_batch_is_taken_whole_however_little_the_node_can_start(
    connection: RawConnection, node: Node
) -> None:
    node.domain_limits = ["example.com"]
    node.capacity = 0.1
    message = await take_limited(node, await limited(connection, 20))
    assert message.acknowledged == 1, "its row says who has it; the broker need not wait for its moments"
    assert node.taker.room(Lane.POSTS) == 1, "it takes no room from others"


async def test_a_node_has_no_more_limited_batches_than_connections_to_spare(
    connection: RawConnection, node: Node
) -> None:
    node.domain_limits = ["example.com"]
    for _ in range(2):
        await take_limited(node, await limited(connection, 3))
    third = await limited(connection, 3)
    await take_limited(node, third)
    assert node.publisher.published == [SendBatch(third)]
    assert node.taker.open == 6
    assert node.wants_work, "other mail has room"


async def test_recipients_whose_domain_has_a_limit_by_now_go_back_under_it(
    connection: RawConnection, node: Node
) -> None:
    node.domain_limits = ["example.com"]
    await node.take(await released(connection, 3))
    await node.taker.settle()
    assert len(node.backlog) == node.taker.open == 0
    rows = await connection.fetch("SELECT domain_limit, batch_id FROM outstanding")
    assert [tuple(row) for row in rows] == [("example.com", None)] * 3


async def test_what_a_node_holds_goes_back_under_a_limit_that_is_set_now(connection: RawConnection, node: Node) -> None:
    await node.take(await released(connection, 3))
    node.taker.hand_back_misfits()
    assert len(node.backlog) == 3
    node.domain_limits = ["example.com"]
    node.taker.hand_back_misfits()
    await node.taker.settle()
    assert len(node.backlog) == node.taker.open == 0
    rows = await connection.fetch("SELECT domain_limit, batch_id FROM outstanding")
    assert [tuple(row) for row in rows] == [("example.com", None)] * 3


async def test_recipients_whose_limit_was_lifted_go_back_without_it(connection: RawConnection, node: Node) -> None:
    await take_limited(node, await limited(connection, 2))
    await node.taker.settle()
    rows = await connection.fetch("SELECT domain_limit, batch_id FROM outstanding")
    assert [tuple(row) for row in rows] == [("", None)] * 2


@pytest.mark.parametrize("when", ["before it is claimed", "while it is held"])
@pytest.mark.parametrize("domain_limit", ["", "example.com"])
async def test_what_was_released_before_its_list_had_a_rate_goes_back(
    connection: RawConnection, node: Node, when: str, domain_limit: str
) -> None:
    taken = await (limited(connection, 3, domain_limit) if domain_limit else released(connection, 3))
    other = await released(connection, 2)
    mailing_id = await connection.fetchval("SELECT mailing_id FROM batches WHERE id = $1", taken)
    await connection.execute("UPDATE outstanding SET domain_limit = $1 WHERE mailing_id = $2", domain_limit, mailing_id)

    async def take() -> None:
        await (take_limited(node, taken) if domain_limit else node.take(taken))

    node.domain_limits = [domain_limit] if domain_limit else []
    if when == "while it is held":
        await take()
        assert node.taker.open == 3
        node.paced_mailings = {mailing_id}
        node.taker.hand_back_misfits()
    else:
        node.paced_mailings = {mailing_id}
        await take()
    await node.taker.settle()
    rows = await connection.fetch("SELECT domain_limit, batch_id FROM outstanding WHERE mailing_id = $1", mailing_id)
    assert [tuple(row) for row in rows] == [(domain_limit, None)] * 3
    node.domain_limits = []
    await node.take(other)
    assert node.taker.open == 2, "others' mail stays"


async def test_what_has_moments_stays_when_its_list_has_a_rate(connection: RawConnection, node: Node) -> None:
    batch_id = await limited(connection, 3, "")
    await connection.execute("UPDATE batches SET starts_at = now(), start_interval_seconds = 1 WHERE id = $1", batch_id)
    node.paced_mailings = {await connection.fetchval("SELECT mailing_id FROM batches WHERE id = $1", batch_id)}
    await take_limited(node, batch_id)
    node.taker.hand_back_misfits()
    await node.taker.settle()
    assert node.taker.open == 3
