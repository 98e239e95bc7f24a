"""Release under a limit: connections counted from rows, moments given out once, mailings in turn, nobody held up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest

from services.scheduler.limited_release import BATCHES_A_STEP, MAX_UNCLAIMED, LimitedReleaser, Share
from services.scheduler.release import Releaser
from shared.contracts.commands import SendBatch
from shared.contracts.topology import Lane
from shared.core.pacing import interval_seconds
from shared.store import batches, domain_limits, lists, mailings
from shared.store.engine import Database, RawConnection
from shared.store.limited_release import LimitedDemand
from tests.fakes.waiting import until
from tests.integration import stored
from tests.integration.test_release import FakePublisher, node_that_starts, step_until_full

PATTERN = "example.com"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[RawConnection]:
    async with stored.connected(database_url) as connection:
        await stored.empty(connection)
        yield connection
        await stored.assert_consistent(connection)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


@pytest.fixture
async def publisher() -> FakePublisher:
    return FakePublisher()


def releaser_on(database: Database, publisher: FakePublisher) -> LimitedReleaser:
    unlimited = Releaser(database, publisher, publish_within_seconds=5, republish_after_seconds=30)
    return LimitedReleaser(database, unlimited, publish_within_seconds=5)


@pytest.fixture
async def releaser(connection: RawConnection, database: Database, publisher: FakePublisher) -> LimitedReleaser:
    """One that has a node to release to."""
    await node_that_starts(connection, 50)
    return releaser_on(database, publisher)


async def limit(connection: RawConnection, pattern: str = PATTERN, **limits: int | None) -> None:
    """Sets a limit; recipients made from now on are under it where the pattern is their domain."""
    await connection.execute(
        "INSERT INTO domain_limits (pattern, connections, messages_per_minute, messages_per_connection)"
        " VALUES ($1, $2, $3, $4)",
        pattern,
        limits.get("connections"),
        limits.get("messages_per_minute"),
        limits.get("messages_per_connection"),
    )
    await connection.execute("INSERT INTO destinations (domain, domain_limit) VALUES ($1, $1)", pattern)


async def sizes(connection: RawConnection) -> list[int]:
    """Of the batches that are out."""
    rows = await connection.fetch("SELECT open FROM batches WHERE state IN ('released', 'claimed') ORDER BY id")
    return [row["open"] for row in rows]


async def moments(connection: RawConnection) -> list[float]:
    """All moments that were given out, in seconds since the first."""
    rows = await connection.fetch("SELECT starts_at, start_interval_seconds, open FROM batches")
    given = sorted(
        row["starts_at"] + timedelta(seconds=place * row["start_interval_seconds"])
        for row in rows
        for place in range(row["open"])
    )
    return [(moment - given[0]).total_seconds() for moment in given]


async def test_no_more_batches_are_out_than_the_limit_has_connections(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, connections=3, messages_per_connection=10)
    await stored.new_mailing(connection, 100)
    for _ in range(3):
        assert await releaser.step()
    assert await sizes(connection) == [10, 10, 10]


async def test_many_connections_of_one_domain_are_in_no_other_limits_way(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, connections=1000, messages_per_connection=1)
    await stored.new_mailing(connection, 400)
    await limit(connection, "z.example.com", connections=2, messages_per_connection=1)
    for _ in range(3):
        await releaser.step()
    assert await sizes(connection) == [1] * MAX_UNCLAIMED, "more would stand in the queue before the others"
    # The nodes are so fast that each step finds nothing unclaimed.
    await connection.execute("UPDATE batches SET state = 'claimed', claim = gen_random_uuid()")
    other = await stored.new_mailing(connection, 10)
    await connection.execute("UPDATE outstanding SET domain_limit = 'z.example.com' WHERE mailing_id = $1", other)
    await releaser.step()
    rows = await connection.fetch(
        "SELECT domain_limit, count(*) AS n FROM batches WHERE state = 'released' GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [(PATTERN, BATCHES_A_STEP - 2), ("z.example.com", 2)]
    await connection.execute("UPDATE batches SET state = 'released', claim = NULL")


async def test_a_dead_nodes_connections_are_free_after_the_takeover(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, connections=2, messages_per_connection=5)
    await stored.new_mailing(connection, 100)
    await releaser.step()
    lease = await stored.new_lease(connection)
    for row in await connection.fetch("SELECT id FROM batches"):
        claimed = await stored.claim(connection, row["id"], lease)
        assert claimed is not None
        assert claimed.limit is not None
        assert claimed.limit.domain_limit == PATTERN
    await releaser.step()
    assert await sizes(connection) == [5, 5]
    await stored.lose(connection, lease)
    assert await sizes(connection) == []
    await releaser.step()
    assert await sizes(connection) == [5, 5]


async def test_moments_are_given_out_once_and_an_interval_apart_by_schedulers_that_take_turns(
    connection: RawConnection, database_url: str, publisher: FakePublisher
) -> None:
    await limit(connection, messages_per_minute=120)
    await node_that_starts(connection, 50)
    await stored.new_mailing(connection, 500)
    databases = [Database(database_url, name=f"scheduler-{n}") for n in range(3)]
    try:
        for _ in range(3):
            await asyncio.gather(*(releaser_on(database, publisher).step() for database in databases))
            # As if the block were over soon.
            await connection.execute("UPDATE domain_limits SET next_start_at = next_start_at - interval '6.5 seconds'")
            await connection.execute("UPDATE batches SET starts_at = starts_at - interval '6.5 seconds'")
    finally:
        for database in databases:
            await database.close()
    given = await moments(connection)
    interval = interval_seconds(120, 60)
    assert len(given) >= 3 * 10
    assert all(later - earlier > interval - 1e-4 for earlier, later in pairwise(given))


@pytest.mark.parametrize("of", ["domain", "list"])
async def test_a_rate_that_is_set_during_a_release_step_is_not_overwritten(
    connection: RawConnection, database: Database, releaser: LimitedReleaser, database_url: str, of: str
) -> None:
    await stored.new_mailing(connection, 50)
    if of == "domain":
        await limit(connection, messages_per_minute=1)
        await connection.execute("UPDATE outstanding SET domain_limit = $1", PATTERN)
    else:
        await connection.execute("UPDATE mailing_lists SET max_messages_per_hour = 1")
    put: asyncio.Task[None] | None = None

    class SlowReleaser(LimitedReleaser):
        async def _make_batches(self, connection: RawConnection, demand: LimitedDemand, share: Share) -> list[int]:
            nonlocal put
            put = asyncio.create_task(set_rate(database, of))
            await until(partial(has_ended_or_waits, watching, put))
            return await super()._make_batches(connection, demand, share)

    async with stored.connected(database_url) as watching:
        slow = SlowReleaser(database, releaser._releaser, publish_within_seconds=5)
        assert await slow.step()
    assert put is not None
    await put
    table = "domain_limits" if of == "domain" else "mailing_lists"
    waits_seconds = await connection.fetchval(
        f"SELECT extract(epoch FROM max(next_start_at) - clock_timestamp())::float FROM {table}"
    )
    assert waits_seconds < 11, "the rate before had its next moment in a minute, or an hour"


async def set_rate(database: Database, of: str) -> None:
    """As the API does."""
    async with database.transaction() as session:
        if of == "domain":
            await domain_limits.put(
                session, PATTERN, connections=None, messages_per_minute=60, messages_per_connection=None
            )
            return
        for found in await lists.page(session):
            found.max_messages_per_hour = 3600
            await lists.pace_anew(session, found)


async def has_ended_or_waits(watching: RawConnection, task: asyncio.Task[None]) -> bool:
    waits = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    return task.done() or bool(await watching.fetchval(waits))


async def test_a_claim_says_how_long_it_is_until_the_first_moment(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, messages_per_minute=600)
    await stored.new_mailing(connection, 50)
    await connection.execute("UPDATE domain_limits SET next_start_at = now() + interval '1.5 seconds'")
    await releaser.step()
    lease = await stored.new_lease(connection)
    ids = [row["id"] for row in await connection.fetch("SELECT id FROM batches ORDER BY starts_at")]
    first = await stored.claim(connection, ids[0], lease)
    assert first is not None
    assert first.limit is not None
    assert first.limit.starts_in_seconds is not None
    assert 0 < first.limit.starts_in_seconds <= 1.5
    assert first.limit.interval_seconds == pytest.approx(len(ids) * interval_seconds(600, 60))


async def test_moments_far_ahead_are_waited_for(connection: RawConnection, releaser: LimitedReleaser) -> None:
    await limit(connection, messages_per_minute=600)
    await stored.new_mailing(connection, 50)
    await connection.execute("UPDATE domain_limits SET next_start_at = now() + interval '20 seconds'")
    assert await releaser.step()
    assert await sizes(connection) == []


async def test_mailings_under_one_limit_have_it_in_turn_and_express_mail_first(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, connections=1, messages_per_connection=2)
    first, second = [await stored.new_mailing(connection, 50, lane=Lane.BULK) for _ in range(2)]
    express = await stored.new_mailing(connection, 1, lane=Lane.EXPRESS)
    turns = []
    for _ in range(5):
        await releaser.step()
        row = await connection.fetchrow("SELECT id, mailing_id FROM batches WHERE state = 'released'")
        assert row is not None
        turns.append(row["mailing_id"])
        claimed = await stored.claim(connection, row["id"], await stored.new_lease(connection))
        assert claimed is not None
        await stored.record_all(connection, claimed, stored.DELIVERED)
    assert turns == [express, first, second, first, second]


async def test_limited_recipients_are_in_nobodys_window(
    connection: RawConnection, database: Database, publisher: FakePublisher, releaser: LimitedReleaser
) -> None:
    await limit(connection, connections=1, messages_per_connection=100)
    mailing_id = await stored.new_mailing(connection, 1000)
    await connection.execute("UPDATE outstanding SET domain_limit = '' WHERE delivery_id % 2 = 0")
    await releaser.step()
    unlimited = Releaser(database, publisher, publish_within_seconds=5, republish_after_seconds=30)
    await step_until_full(unlimited)
    rows = await connection.fetch("SELECT is_limited, sum(unstarted) AS n FROM batches GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [(False, 100), (True, 100)]
    queues = {payload.batch_id: queue for queue, payload in publisher.published if isinstance(payload, SendBatch)}
    for row in await connection.fetch("SELECT id, is_limited FROM batches"):
        assert queues[row["id"]] == ("send.posts.limited" if row["is_limited"] else "send.posts")
    assert await mailings.finish(connection) == []
    await connection.execute("DELETE FROM outstanding WHERE domain_limit = ''")
    assert await mailings.finish(connection) == [], f"limited ones of {mailing_id} wait"
    await connection.execute("TRUNCATE outstanding, batches, deliveries")


async def test_when_a_limit_is_lifted_those_who_waited_wait_like_everybody(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, messages_per_minute=1)
    await stored.new_mailing(connection, 20)
    await connection.execute("DELETE FROM domain_limits")
    await releaser.step()
    assert await connection.fetchval("SELECT count(*) FROM outstanding WHERE domain_limit = ''") == 20
    assert not await releaser.step()


async def test_what_turned_out_to_be_under_another_limit_goes_back_under_it(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 3, await stored.new_lease(connection))
    ids = [recipient.delivery_id for recipient in claimed.recipients]
    await batches.hand_back(connection, claimed.id, claimed.claim, ids[:2], unstarted=1, domain_limit="mx:*.net")
    await batches.hand_back(connection, claimed.id, claimed.claim, ids[2:], unstarted=0)
    rows = await connection.fetch("SELECT domain_limit FROM outstanding ORDER BY delivery_id")
    assert [row["domain_limit"] for row in rows] == ["mx:*.net", "mx:*.net", ""]


async def test_a_list_with_a_limit_is_released_at_its_rate_and_no_other_way(
    connection: RawConnection, database: Database, publisher: FakePublisher, releaser: LimitedReleaser
) -> None:
    await stored.new_mailing(connection, 500)
    await connection.execute("UPDATE mailing_lists SET max_messages_per_hour = 3600")
    await step_until_full(Releaser(database, publisher, publish_within_seconds=5, republish_after_seconds=30))
    assert await sizes(connection) == []
    for _ in range(3):
        await releaser.step()
    given = await moments(connection)
    assert 5 <= len(given) <= 9
    assert all(abs(later - earlier - 3601 / 3600) < 1e-4 for earlier, later in pairwise(given))


async def test_both_limits_hold_where_a_limited_list_writes_to_a_limited_domain(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, messages_per_minute=6000)
    await stored.new_mailing(connection, 500)
    await connection.execute("UPDATE mailing_lists SET max_messages_per_hour = 3600")
    for _ in range(3):
        await releaser.step()
    given = await moments(connection)
    assert 5 <= len(given) <= 9


async def test_a_slow_lists_mail_does_not_keep_its_domains_from_others(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, messages_per_minute=600)
    slow = await stored.new_mailing(connection, 50)
    await connection.execute("UPDATE mailing_lists SET max_messages_per_hour = 10")
    await releaser.step()
    express = await stored.new_mailing(connection, 1, lane=Lane.EXPRESS)
    others = await stored.new_mailing(connection, 500)
    await releaser.step()
    rows = await connection.fetch("SELECT mailing_id, open FROM batches ORDER BY starts_at, id")
    assert [tuple(row) for row in rows[:2]] == [(slow, 1), (express, 1)]
    assert sum(row["open"] for row in rows if row["mailing_id"] == others) > 50
    given = await moments(connection)
    assert all(later - earlier > interval_seconds(600, 60) - 1e-4 for earlier, later in pairwise(given))
    assert given[-1] < 20, "nobody waits six minutes for the list's next moment"
    list_waits_seconds = await connection.fetchval(
        "SELECT extract(epoch FROM max(next_start_at) - now())::float FROM mailing_lists"
    )
    assert 350 < list_waits_seconds <= 3601 / 10 + 2


async def test_what_two_nodes_died_of_is_alone_under_a_limit_too(
    connection: RawConnection, releaser: LimitedReleaser
) -> None:
    await limit(connection, connections=4, messages_per_connection=3)
    await stored.new_mailing(connection, 6)
    await connection.execute(
        "UPDATE outstanding SET deaths = 2 WHERE delivery_id = (SELECT min(delivery_id) FROM outstanding)"
    )
    await releaser.step()
    await releaser.step()
    rows = await connection.fetch(
        "SELECT b.open FROM batches b JOIN outstanding o ON o.batch_id = b.id WHERE o.deaths = 2"
    )
    assert [row["open"] for row in rows] == [1]
    assert sum(await sizes(connection)) == 6


async def test_what_no_live_node_takes_holds_no_limit_up(connection: RawConnection, releaser: LimitedReleaser) -> None:
    await limit(connection, connections=2, messages_per_connection=5)
    await connection.execute("UPDATE nodes SET lanes = '{posts}'")
    bulk = await stored.new_mailing(connection, 20, lane=Lane.BULK)
    assert not await releaser.step()
    posts = await stored.new_mailing(connection, 20, lane=Lane.POSTS)
    assert await releaser.step()
    rows = await connection.fetch("SELECT mailing_id FROM batches")
    assert [row["mailing_id"] for row in rows] == [posts, posts]
    await connection.execute("UPDATE nodes SET lanes = '{posts,bulk}'")
    await connection.execute("UPDATE domain_limits SET connections = 4")
    assert await releaser.step()
    assert await connection.fetchval("SELECT count(*) FROM batches WHERE mailing_id = $1", bulk) > 0
    await connection.execute("UPDATE nodes SET capacity_per_second = 0")
    assert not await releaser.step()
