"""The purge: what is old goes, what is outstanding or young stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.scheduler.kinds.purge import purge
from services.scheduler.run import Run
from shared.contracts.task_kinds.purge import PurgeParameters
from shared.core.moments import id_at
from shared.store import mailings, purges, rounds, task_runs
from shared.store.engine import Database, RawConnection
from tests.integration import stored
from tests.integration.stored import DELIVERED
from tests.integration.test_tasks import new_run


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


async def purged(connection: RawConnection, database: Database, **days: int) -> dict[str, Any]:
    """What a run of the purge says it deleted."""
    run_id = await new_run(connection)
    claimed = await task_runs.claim(connection, run_id, token=uuid4(), node_name="scheduler-1", lease_seconds=30)
    assert claimed is not None
    run = Run(claimed, database, lease_seconds=30, is_leaving=lambda: False)
    return asdict(await purge(run, PurgeParameters(**days)))


async def finished_mailing(connection: RawConnection) -> int:
    """Delivered to its one member."""
    lease = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 1, lease)
    await stored.record_all(connection, claimed, DELIVERED)
    async with connection.transaction():
        assert await mailings.finish(connection) == [claimed.mailing_id]
    return claimed.mailing_id


async def contents(connection: RawConnection) -> list[bool]:
    """Whether the messages have their content, in the order they came."""
    rows = await connection.fetch(
        "SELECT content <> '' AS is_there, content_purged_at IS NULL AS is_kept FROM messages ORDER BY received_at"
    )
    assert all(row["is_there"] == row["is_kept"] for row in rows)
    return [row["is_there"] for row in rows]


async def test_content_goes_when_it_is_old_and_its_mailing_has_ended(
    connection: RawConnection, database: Database
) -> None:
    old, open_one = await finished_mailing(connection), await stored.new_mailing(connection, 1)
    await connection.execute("UPDATE messages SET publish_due_at = NULL, received_at = now() - interval '40 days'")
    unhandled = stored.new_message()
    await connection.execute(
        "INSERT INTO messages (id, content, size_bytes, envelope_sender, message_id, subject, fingerprint, peer,"
        " received_at, publish_due_at) VALUES ($1, 'x', 1, '', '', '', '', '', now() - interval '35 days', now())",
        unhandled.id,
    )
    await finished_mailing(connection)
    await connection.execute("UPDATE messages SET publish_due_at = NULL WHERE id <> $1", unhandled.id)
    assert (await purged(connection, database, message_content_days=30))["message_contents"] == 1
    assert sum(await contents(connection)) == 3
    message = (
        "SELECT content_purged_at IS NULL FROM messages JOIN mailings m ON m.message_id = messages.id WHERE m.id = $1"
    )
    assert await connection.fetchval(message, old) is False
    assert await connection.fetchval(message, open_one) is True


async def test_what_has_no_content_is_not_sent_again(connection: RawConnection, database: Database) -> None:
    mailing_id = await finished_mailing(connection)
    assert await rounds.open_mailing(connection, mailing_id)
    async with connection.transaction():
        await mailings.finish(connection)
    await connection.execute("UPDATE messages SET publish_due_at = NULL, received_at = now() - interval '40 days'")
    await purged(connection, database, message_content_days=30)
    assert not await rounds.open_mailing(connection, mailing_id)


async def test_many_contents_go_in_steps(
    connection: RawConnection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purges, "CHUNK", 2)
    for _ in range(5):
        await finished_mailing(connection)
    await connection.execute("UPDATE messages SET publish_due_at = NULL, received_at = now() - interval '40 days'")
    assert (await purged(connection, database, message_content_days=30))["message_contents"] == 5
    assert await contents(connection) == [False] * 5


async def month_of(connection: RawConnection, mailing_id: int, month: str) -> None:
    """The mailing is of that month, and so are its deliveries."""
    begin = datetime.strptime(month, "%Y_%m").replace(tzinfo=UTC)
    end = (begin + timedelta(days=32)).replace(day=1)
    for table in ("deliveries", "attempts"):
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {table}_{month} PARTITION OF {table}"
            f" FOR VALUES FROM ('{begin:%Y-%m-%d}') TO ('{end:%Y-%m-%d}')"
        )
    for table in ("deliveries", "attempts", "batches", "outstanding"):
        column = "delivery_id" if table == "attempts" else "mailing_id"
        which = f"(SELECT id FROM deliveries WHERE mailing_id = {mailing_id})" if table == "attempts" else mailing_id
        await connection.execute(
            f"UPDATE {table} SET mailing_created_at = $1 WHERE {column} IN ({which})", begin + timedelta(days=3)
        )
    await connection.execute("UPDATE mailings SET created_at = $1 WHERE id = $2", begin + timedelta(days=3), mailing_id)


async def test_months_of_deliveries_go_when_all_their_mailings_have_ended(
    connection: RawConnection, database: Database
) -> None:
    old = await finished_mailing(connection)
    await month_of(connection, old, "2024_01")
    half = await finished_mailing(connection)
    await month_of(connection, half, "2024_02")
    open_one = await stored.new_mailing(connection, 1)
    await month_of(connection, open_one, "2024_02")
    await finished_mailing(connection)

    assert (await purged(connection, database, delivery_days=90))["months_of_deliveries"] == 1
    gone = "SELECT to_regclass('deliveries_2024_01') IS NULL AND to_regclass('attempts_2024_01') IS NULL"
    assert await connection.fetchval(gone)
    assert await connection.fetchval("SELECT count(*) FROM deliveries") == 3
    assert await connection.fetchval("SELECT count(*) FROM attempts") == 2
    delivered = "SELECT delivered FROM batches WHERE mailing_id = $1"
    assert await connection.fetchval(delivered, old) == 1, "its counts stay"
    # `stored.assert_consistent` compares counts with deliveries that are gone.
    await stored.empty(connection)


async def test_old_runs_go(connection: RawConnection, database: Database) -> None:
    for days in (50, 40, 10):
        run_id = await new_run(connection)
        await connection.execute(
            "UPDATE task_runs SET state = 'succeeded', ended_at = now() - make_interval(days => $2) WHERE id = $1",
            run_id,
            days,
        )
    assert (await purged(connection, database, run_days=30))["runs"] == 2
    assert await connection.fetchval("SELECT count(*) FROM task_runs") == 2


async def test_what_is_old_of_everything_else_goes_each_after_days_of_its_own(
    connection: RawConnection, database: Database
) -> None:
    list_id = await stored.new_list(connection, 0)
    now = datetime.now(UTC)
    for days in (10, 50, 90):
        at = now - timedelta(days=days)
        await connection.execute(
            "INSERT INTO tracking_events (id, mailing_id, link_id, at) VALUES ($1, 1, 0, $2)", id_at(at, bytes(10)), at
        )
        await connection.execute(
            "INSERT INTO bounce_events (member_id, kind, reply, happened_at, scored_at)"
            " VALUES (1, 'complaint', '', $1, now())",
            at,
        )
        await connection.execute(
            "INSERT INTO notices (cause, kind, list_id, counting_key, created_at) VALUES ($1, 'x', $2, 'x', $3)",
            f"{days}",
            list_id,
            at,
        )
        await connection.execute(
            "INSERT INTO subscription_requests (list_id, email, email_key, action, source, state, expires_at)"
            " VALUES ($1, 'a@x.test', 'a@x.test', 'join', 'web', 'asked', $2)",
            list_id,
            at,
        )
    found = await purged(connection, database, tracking_days=20, bounce_days=60, notice_days=30, request_days=5)
    assert {what: found[what] for what in ("readings", "bounces", "notices", "requests")} == {
        "readings": 2,
        "bounces": 1,
        "notices": 2,
        "requests": 3,
    }
    assert await connection.fetchval("SELECT count(*) FROM tracking_events") == 1
    assert await connection.fetchval("SELECT count(*) FROM bounce_events") == 2
    assert await connection.fetchval("SELECT array_agg(cause) FROM notices") == ["10"]


async def test_a_bounce_that_nobody_has_scored_stays(connection: RawConnection, database: Database) -> None:
    await connection.execute(
        "INSERT INTO bounce_events (member_id, kind, reply, happened_at) VALUES (1, 'bounce', '', '2020-01-01')"
    )
    assert (await purged(connection, database, bounce_days=60))["bounces"] == 0
