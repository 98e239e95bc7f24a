"""Slowing down in rows: nodes tell sums, one scheduler at a time adds them up, limits follow and go again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.outbound_sender.answers import Answers
from services.scheduler.slowing import Slowing
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import Reply
from shared.store import domain_limits, slowdowns
from shared.store.engine import Database, RawConnection
from shared.store.slowdowns import NodeTally
from tests.integration import stored

BUSY = Outcome(OutcomeKind.DEFERRED, "450 to RCPT", Reply(450, "4.7.1 Too many messages"), "mx.example.net")


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[RawConnection]:
    async with stored.connected(database_url) as connection:
        await stored.empty(connection)
        yield connection


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


async def tell(connection: RawConnection, destination: str, accepted: int, refused: int, *, ago: float = 10) -> None:
    because = "450 4.7.1 Too many messages" if refused else ""
    await slowdowns.tell(connection, [NodeTally(destination, accepted, refused, because)])
    await connection.execute("UPDATE destination_tallies SET told_at = now() - make_interval(secs => $1)", ago)
    await connection.execute("UPDATE domain_limits SET lowered_at = now() - interval '1 minute'")


async def slowed_to(connection: RawConnection, pattern: str) -> float | None:
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT slowed_to_per_minute FROM domain_limits WHERE pattern = $1", pattern
    )


async def test_a_domain_that_refuses_for_volume_gets_a_limit_that_nobody_set_and_loses_it_again(
    connection: RawConnection, database: Database
) -> None:
    slowing = Slowing(database)
    for _ in range(2):  # of two nodes
        await slowdowns.tell(connection, [NodeTally("busy.test", 5, 10, "450 4.7.1 Too many messages")])
    await slowing.adjust()
    assert await domain_limits.patterns(connection) == [], "an interval is not over"
    await tell(connection, "busy.test", 0, 0)
    await slowing.adjust()
    assert await slowed_to(connection, "busy.test") == pytest.approx(90, rel=0.15), "half of 30 in 10 seconds"
    row = await connection.fetchrow("SELECT is_automatic, slowed_because FROM domain_limits")
    assert row is not None
    assert tuple(row) == (True, "450 4.7.1 Too many messages")
    assert await connection.fetchval("SELECT domain_limit FROM destinations WHERE domain = 'busy.test'") == "busy.test"
    for _ in range(100):
        await tell(connection, "busy.test", 10, 0)
        await slowing.adjust()
    assert await domain_limits.patterns(connection) == []
    assert await connection.fetchval("SELECT count(*) FROM destinations") == 0


async def test_a_limit_that_was_set_stays_when_its_slowdown_is_over(
    connection: RawConnection, database: Database
) -> None:
    await connection.execute("INSERT INTO domain_limits (pattern, messages_per_minute) VALUES ('mx:*.net', 60)")
    slowing = Slowing(database)
    await tell(connection, "mx:*.net", 0, 10)
    await slowing.adjust()
    assert await slowed_to(connection, "mx:*.net") == pytest.approx(30, rel=0.15)
    for _ in range(10):
        await tell(connection, "mx:*.net", 10, 0)
        await slowing.adjust()
    assert await slowed_to(connection, "mx:*.net") is None
    assert await domain_limits.patterns(connection) == ["mx:*.net"]


async def test_a_slowdown_that_nothing_was_sent_under_is_forgotten(
    connection: RawConnection, database: Database
) -> None:
    slowing = Slowing(database)
    await tell(connection, "busy.test", 0, 10)
    await slowing.adjust()
    await connection.execute("UPDATE domain_limits SET adjusted_at = now() - interval '2 hours'")
    await slowing.adjust()
    assert await domain_limits.patterns(connection) == []


async def test_a_node_tells_of_refusals_and_of_what_is_limited_and_of_nothing_else(
    connection: RawConnection, database: Database
) -> None:
    batch = await stored.claimed_mailing(connection, 1, await stored.new_lease(connection))
    answers = Answers(database)
    for domain, outcome in (("busy.test", BUSY), ("busy.test", stored.DELIVERED), ("free.test", stored.DELIVERED)):
        answers.count(batch, domain, outcome)
    assert answers.take() == [NodeTally("busy.test", 1, 1, "450 4.7.1 Too many messages")]
    assert answers.take() == []
