"""Release: what the step counts and writes, the advisory lock, the sweep's rows, and when a mailing is finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.scheduler.release import Releaser
from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.base import Payload
from shared.contracts.commands import SendBatch
from shared.contracts.topology import Lane
from shared.store import batches, mailings, nodes, release
from shared.store.engine import Database, RawConnection
from shared.store.nodes import Vitals
from tests.integration import stored


class FakePublisher(Publisher):
    """Keeps what is published; fails while it is told to."""

    def __init__(self) -> None:
        super().__init__("amqp://nowhere.invalid/", name="fake")
        self.is_down = False
        self.published: list[tuple[str, Payload]] = []

    async def publish(self, queue: str, payload: Payload) -> None:
        if self.is_down:
            raise BrokerUnavailable("down")
        self.published.append((queue, payload))


@pytest.fixture
async def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


@pytest.fixture
async def releaser(database: Database, publisher: FakePublisher) -> Releaser:
    return Releaser(database, publisher, publish_within_seconds=5, republish_after_seconds=30)


async def node_that_starts(connection: RawConnection, per_second: float) -> nodes.Lease:
    lease = await stored.new_lease(connection)
    await nodes.renew(connection, lease, Vitals(capacity_per_second=per_second))
    return lease


async def unstarted(connection: RawConnection) -> int:
    return int(
        await connection.fetchval(
            "SELECT coalesce(sum(unstarted), 0) FROM batches WHERE state IN ('released', 'claimed')"
        )
    )


async def step_until_full(releaser: Releaser, lane: Lane = Lane.POSTS) -> None:
    await releaser._release(lane)


async def test_as_many_are_released_as_the_nodes_can_start_in_two_seconds(
    connection: RawConnection, releaser: Releaser, publisher: FakePublisher
) -> None:
    await node_that_starts(connection, 100)
    await node_that_starts(connection, 50)
    await stored.new_mailing(connection, 1000)
    await step_until_full(releaser)
    assert await unstarted(connection) == 300
    ids = [row["id"] for row in await connection.fetch("SELECT id FROM batches ORDER BY id")]
    assert sorted(payload.batch_id for _, payload in publisher.published if isinstance(payload, SendBatch)) == ids
    assert {queue for queue, _ in publisher.published} == {"send.posts"}
    await step_until_full(releaser)
    assert await unstarted(connection) == 300


async def test_a_large_mailing_leaves_room_for_a_small_one(connection: RawConnection, releaser: Releaser) -> None:
    await node_that_starts(connection, 100)
    await stored.new_mailing(connection, 1000)
    await step_until_full(releaser)
    small = await stored.new_mailing(connection, 10)
    await step_until_full(releaser)
    assert await connection.fetchval("SELECT sum(unstarted) FROM batches WHERE mailing_id = $1", small) == 10


async def test_one_recipient_is_out_even_when_nobody_has_capacity(
    connection: RawConnection, releaser: Releaser
) -> None:
    await stored.new_mailing(connection, 50)
    await step_until_full(releaser)
    assert await unstarted(connection) == 1


async def test_only_live_outbound_nodes_count(connection: RawConnection) -> None:
    await node_that_starts(connection, 100)
    gone = await node_that_starts(connection, 40)
    await nodes.renew(connection, await stored.new_lease(connection), Vitals())
    await connection.execute("UPDATE nodes SET state = 'left' WHERE incarnation = $1", gone.incarnation)
    assert await release.nodes_capacity(connection, Lane.POSTS) == (1, 100.0)


async def test_a_node_counts_in_the_lanes_that_it_serves(connection: RawConnection) -> None:
    await node_that_starts(connection, 100)
    for_bulk = await stored.new_lease(connection)
    await nodes.renew(connection, for_bulk, Vitals(capacity_per_second=40, lanes=("bulk",)))
    assert await release.nodes_capacity(connection, Lane.POSTS) == (1, 100.0)
    assert await release.nodes_capacity(connection, Lane.BULK) == (2, 140.0)


async def test_what_is_not_due_is_not_released(connection: RawConnection, releaser: Releaser) -> None:
    await node_that_starts(connection, 100)
    await stored.new_mailing(connection, 10)
    await connection.execute("UPDATE outstanding SET due_at = now() + interval '1 minute'")
    await step_until_full(releaser)
    assert await connection.fetchval("SELECT count(*) FROM batches") == 0


async def test_lanes_are_released_apart(connection: RawConnection, releaser: Releaser) -> None:
    await node_that_starts(connection, 100)
    await stored.new_mailing(connection, 10, lane=Lane.BULK)
    await step_until_full(releaser, Lane.POSTS)
    assert await connection.fetchval("SELECT count(*) FROM batches") == 0
    await step_until_full(releaser, Lane.BULK)
    assert await unstarted(connection) == 10


async def test_two_schedulers_at_once_release_no_more_than_the_window(
    connection: RawConnection, database_url: str, publisher: FakePublisher
) -> None:
    await node_that_starts(connection, 200)
    mailing_ids = [await stored.new_mailing(connection, 700) for _ in range(3)]
    databases = [Database(database_url, name=f"scheduler-{n}") for n in range(4)]
    releasers = [Releaser(db, publisher, publish_within_seconds=5, republish_after_seconds=30) for db in databases]
    try:
        for _ in range(5):
            await asyncio.gather(*(step_until_full(releaser) for releaser in releasers))
            assert await unstarted(connection) <= 400
    finally:
        for database in databases:
            await database.close()
    await step_until_full(releasers[0])
    for mailing_id in mailing_ids:
        out = await connection.fetchval("SELECT sum(unstarted) FROM batches WHERE mailing_id = $1", mailing_id)
        assert out == 133


async def test_a_lane_that_another_scheduler_releases_now_is_left_to_it(
    connection: RawConnection, database_url: str, releaser: Releaser
) -> None:
    await stored.new_mailing(connection, 10)
    async with stored.connected(database_url) as other, other.transaction():
        assert await release.try_lock(other, Lane.POSTS)
        async with connection.transaction():
            assert not await release.try_lock(connection, Lane.POSTS)
        async with connection.transaction():
            assert await release.try_lock(connection, Lane.BULK)
        await step_until_full(releaser)
        assert await connection.fetchval("SELECT count(*) FROM batches") == 0
    await step_until_full(releaser)
    assert await connection.fetchval("SELECT count(*) FROM batches") == 1


async def test_a_batch_has_at_most_100_and_every_recipient_is_in_one(
    connection: RawConnection, releaser: Releaser
) -> None:
    await node_that_starts(connection, 10_000)
    await stored.new_mailing(connection, 5_000)
    await step_until_full(releaser)
    sizes = [row["open"] for row in await connection.fetch("SELECT open FROM batches")]
    assert max(sizes) <= 100
    assert sum(sizes) == 5_000
    assert await connection.fetchval("SELECT count(*) FROM outstanding WHERE batch_id IS NULL") == 0


async def test_what_two_nodes_died_of_is_released_alone(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 10)
    await connection.execute("UPDATE outstanding SET deaths = 2 WHERE delivery_id % 5 = 0")
    await connection.execute("UPDATE outstanding SET deaths = 1 WHERE delivery_id % 5 = 1")
    ids = await stored.release_all(connection, mailing_id)
    rows = await connection.fetch(
        "SELECT b.open, max(o.deaths) AS deaths FROM batches b JOIN outstanding o ON o.batch_id = b.id"
        " WHERE b.id = ANY($1) GROUP BY b.id ORDER BY b.open",
        ids,
    )
    assert [tuple(row) for row in rows] == [(1, 2), (1, 2), (8, 1)]


# What the sweep publishes


async def due(connection: RawConnection) -> list[int]:
    return list(await release.publish_due(connection, Lane.POSTS))


async def pass_seconds(connection: RawConnection, seconds: float) -> None:
    await connection.execute(
        "UPDATE batches SET publish_due_at = publish_due_at - make_interval(secs => $1)", float(seconds)
    )


async def test_a_batch_that_was_never_published_is_due_after_five_seconds(connection: RawConnection) -> None:
    ids = await stored.release_all(connection, await stored.new_mailing(connection, 10))
    assert await due(connection) == []
    await pass_seconds(connection, 5.1)
    assert await due(connection) == ids


async def test_a_published_batch_is_due_again_each_time_after_twice_as_long(connection: RawConnection) -> None:
    ids = await stored.release_all(connection, await stored.new_mailing(connection, 10))
    for wait_seconds in (30, 60, 120):
        await release.mark_published(connection, ids, again_after_seconds=30)
        await pass_seconds(connection, wait_seconds - 1)
        assert await due(connection) == []
        await pass_seconds(connection, 1.1)
        assert await due(connection) == ids


async def test_a_claimed_batch_is_not_published_again(connection: RawConnection) -> None:
    (batch_id,) = await stored.release_all(connection, await stored.new_mailing(connection, 10))
    await stored.claim(connection, batch_id, await stored.new_lease(connection))
    await release.mark_published(connection, [batch_id], again_after_seconds=0)
    await pass_seconds(connection, 1000)
    assert await due(connection) == []
    assert await release.count_released(connection, Lane.POSTS) == 0


async def test_when_the_broker_is_down_the_batches_are_left_to_the_sweep(
    connection: RawConnection, releaser: Releaser, publisher: FakePublisher
) -> None:
    await node_that_starts(connection, 100)
    await stored.new_mailing(connection, 10)
    publisher.is_down = True
    await step_until_full(releaser)
    await pass_seconds(connection, 5.1)
    left = await due(connection)
    assert len(left) == 2
    publisher.is_down = False
    await releaser.publish(Lane.POSTS, left)
    assert await due(connection) == []
    assert [payload for _, payload in publisher.published] == [SendBatch(batch_id) for batch_id in left]


# Finished


async def test_a_mailing_is_finished_when_nothing_is_outstanding_and_not_before(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 3, expand=False)
    assert await mailings.finish(connection) == [], "it is still expanding"
    await stored.expand_all(connection, mailing_id)
    assert await mailings.finish(connection) == [], "three are waiting"
    (batch_id,) = await stored.release_all(connection, mailing_id)
    assert await mailings.finish(connection) == [], "three are released"
    claimed = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert claimed is not None
    assert await mailings.finish(connection) == [], "three are in a node's hands"
    await stored.record_all(connection, claimed, stored.DEFERRED)
    assert await mailings.finish(connection) == [], "three will be tried again"
    await stored.make_due(connection)
    (batch_id,) = await stored.release_all(connection, mailing_id)
    again = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert again is not None
    await stored.record_all(connection, again, stored.DELIVERED)
    assert await mailings.finish(connection) == [mailing_id]
    assert await mailings.finish(connection) == []


async def test_a_mailing_to_nobody_is_finished(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 0)
    assert await mailings.finish(connection) == [mailing_id]


async def test_what_was_handed_back_is_released_to_others_at_once(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 5, await stored.new_lease(connection))
    await batches.hand_back_whole(connection, claimed.id, claimed.claim)
    assert await mailings.finish(connection) == []
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    assert batch_id != claimed.id, "a batch id is never used twice"
