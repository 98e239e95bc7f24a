"""Occurrences of tasks: one row each, claimed by one scheduler at a time, done once, tried again, never lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from services.scheduler.clock import Clock
from services.scheduler.run import Run, TaskFailed
from services.scheduler.tasks.run_task import RunTasks
from shared.broker.connection import BrokerUnavailable
from shared.contracts.base import Payload
from shared.contracts.commands import RunTask
from shared.core.task import MAX_TRIES, TaskKind
from shared.store import task_runs
from shared.store.engine import Database, RawConnection, Record
from tests.fakes.waiting import until
from tests.integration.test_sweep import FakeBroker

LEASE_SECONDS = 30.0
Doing = Callable[[Run, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Nothing:
    """A result."""

    steps: int = 0


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def clock(database: Database, broker: FakeBroker) -> Clock:
    return Clock(database, broker, publish_within_seconds=5, republish_after_seconds=30)


async def new_task(
    connection: RawConnection, due: str, *, cron: str | None = "* * * * *", missed: str = "run_once"
) -> int:
    """A task whose next occurrence is at this moment, in SQL."""
    task_id: int = await connection.fetchval(
        f"""
        INSERT INTO tasks (name, kind, parameters, cron, time_zone, at, is_enabled, missed, next_due_at)
        VALUES ('a task', 'purge', '{{"run_days": 30}}', $1, 'UTC',
                CASE WHEN $1::text IS NULL THEN {due} END, true, $2::missed_policy, {due})
        RETURNING id
        """,
        cron,
        missed,
    )
    return task_id


async def new_run(connection: RawConnection) -> int:
    """A run that waits."""
    task_id = await new_task(connection, "now() + interval '1 year'")
    run_id: int = await connection.fetchval(
        "INSERT INTO task_runs (task_id, due_at, state) VALUES ($1, now(), 'waiting') RETURNING id", task_id
    )
    return run_id


async def run_row(connection: RawConnection, run_id: int) -> Record:
    row = await connection.fetchrow("SELECT * FROM task_runs WHERE id = $1", run_id)
    assert row is not None
    return row


async def be_over(connection: RawConnection, run_id: int) -> None:
    """The wait before the next try, or the lease, is over."""
    await connection.execute(
        """
        UPDATE task_runs SET free_at = now() - interval '1 s', publish_due_at = now() - interval '1 s'
        WHERE id = $1 AND ended_at IS NULL
        """,
        run_id,
    )


def worker(
    database: Database, doing: Doing, name: str = "scheduler-1", lease_seconds: float = LEASE_SECONDS
) -> RunTasks:
    return RunTasks(database, {TaskKind.PURGE: doing}, node_name=lambda: name, lease_seconds=lease_seconds)


def published(broker: FakeBroker) -> list[Payload]:
    return broker.queues.get("tasks.scheduled", [])


async def done_once(run: Run, _parameters: object) -> Nothing:
    async with run.step():
        return Nothing(1)


# Occurrences


async def test_many_clocks_make_one_run_of_each_occurrence(
    connection: RawConnection, database: Database, broker: FakeBroker
) -> None:
    ids = [await new_task(connection, "now() - interval '1 s'", cron=None) for _ in range(50)]
    clocks = [Clock(database, broker, publish_within_seconds=5, republish_after_seconds=30) for _ in range(4)]
    made = await asyncio.gather(*(clock.make_runs() for clock in clocks for _ in range(3)))
    assert sum(len(run_ids) for run_ids in made) == 50
    rows = await connection.fetch("SELECT task_id FROM task_runs")
    assert sorted(row["task_id"] for row in rows) == ids
    assert await connection.fetchval("SELECT count(*) FROM tasks WHERE next_due_at IS NOT NULL") == 0


async def test_the_next_occurrence_waits_for_the_end_of_the_one_before(connection: RawConnection, clock: Clock) -> None:
    task_id = await new_task(connection, "date_trunc('minute', now())")
    (run_id,) = await clock.make_runs()
    await connection.execute("UPDATE tasks SET next_due_at = date_trunc('minute', now()) - interval '1 min'")
    assert list(await clock.make_runs()) == []
    await connection.execute("UPDATE task_runs SET ended_at = now(), state = 'succeeded' WHERE id = $1", run_id)
    await connection.execute("UPDATE task_runs SET due_at = due_at - interval '1 day'")
    assert len(await clock.make_runs()) == 1
    assert await connection.fetchval("SELECT next_due_at > now() FROM tasks WHERE id = $1", task_id)


async def test_an_occurrence_that_has_its_row_is_not_made_again(connection: RawConnection, clock: Clock) -> None:
    await new_task(connection, "date_trunc('hour', now())", cron="0 * * * *")
    (run_id,) = await clock.make_runs()
    await connection.execute("UPDATE task_runs SET ended_at = now(), state = 'succeeded' WHERE id = $1", run_id)
    await connection.execute("UPDATE tasks SET next_due_at = date_trunc('hour', now())")
    assert list(await clock.make_runs()) == []
    assert await connection.fetchval("SELECT next_due_at > now() FROM tasks"), "it does not stand still there"


async def test_what_was_missed_runs_once(connection: RawConnection, clock: Clock) -> None:
    await new_task(connection, "date_trunc('hour', now()) - interval '2 days'", cron="0 * * * *")
    (run_id,) = await clock.make_runs()
    row = await run_row(connection, run_id)
    assert row["state"] == "waiting"
    assert await connection.fetchval(
        "SELECT due_at = date_trunc('hour', now()) AND missed_since_at = due_at - interval '2 days' FROM task_runs"
    )
    assert list(await clock.make_runs()) == []


async def test_what_was_missed_is_shown_as_skipped(connection: RawConnection, clock: Clock) -> None:
    await new_task(connection, "now() - interval '10 min'", cron=None, missed="skip")
    await new_task(connection, "now() - interval '1 min'", cron=None, missed="skip")
    (run_id,) = await clock.make_runs()
    rows = await connection.fetch("SELECT id, state, ended_at FROM task_runs ORDER BY due_at")
    assert [(row["state"], row["ended_at"] is not None) for row in rows] == [("skipped", True), ("waiting", False)]
    assert rows[1]["id"] == run_id, "a minute late is not missed"


async def test_nothing_is_run_before_its_time_or_while_paused(connection: RawConnection, clock: Clock) -> None:
    await new_task(connection, "now() + interval '2 s'")
    await new_task(connection, "NULL::timestamptz", cron="* * * * *")
    assert list(await clock.make_runs()) == []


async def test_one_schedule_that_is_not_understood_stops_no_other(connection: RawConnection, clock: Clock) -> None:
    await new_task(connection, "now() - interval '1 s'", cron="of a later version")
    await new_task(connection, "now() - interval '1 s'", cron="* * * * *")
    assert len(await clock.make_runs()) == 1


async def test_runs_are_published_until_somebody_claims_them(
    connection: RawConnection, clock: Clock, broker: FakeBroker
) -> None:
    run_id = await new_run(connection)
    await be_over(connection, run_id)
    await clock.publish_overdue()
    await clock.publish_overdue()
    assert published(broker) == [RunTask(run_id)]
    await be_over(connection, run_id)
    await clock.publish_overdue()
    assert len(published(broker)) == 1, "it waits in the queue"
    published(broker).clear()
    await clock.publish_overdue()
    assert published(broker) == [RunTask(run_id)]


async def test_while_the_broker_is_down_runs_stay_overdue(
    connection: RawConnection, clock: Clock, broker: FakeBroker
) -> None:
    await new_task(connection, "now() - interval '1 s'", cron=None)
    broker.is_down = True
    made = await clock.make_runs()
    with pytest.raises(BrokerUnavailable):
        await clock.publish(made)
    await connection.execute("UPDATE task_runs SET publish_due_at = now()")
    with pytest.raises(BrokerUnavailable):
        await clock.publish_overdue()
    broker.is_down = False
    await clock.publish_overdue()
    assert published(broker) == [RunTask(run_id) for run_id in made]


# Claims


async def test_of_many_schedulers_one_does_a_run(connection: RawConnection, database: Database) -> None:
    run_id, doings = await new_run(connection), []

    async def doing(run: Run, _parameters: object) -> Nothing:
        doings.append(run.claimed.id)
        return await done_once(run, None)

    workers = [worker(database, doing, f"scheduler-{number}") for number in range(1, 5)]
    await asyncio.gather(*(each(RunTask(run_id)) for each in workers for _ in range(3)))
    assert doings == [run_id]
    row = await run_row(connection, run_id)
    assert (row["state"], json.loads(row["result"]), row["publish_due_at"]) == ("succeeded", {"steps": 1}, None)
    assert row["node_name"].startswith("scheduler-")
    assert row["started_at"] <= row["ended_at"]


async def test_a_run_that_does_not_exist_is_forgotten(connection: RawConnection, database: Database) -> None:
    await worker(database, done_once)(RunTask(123_456_789))


async def test_after_its_lease_a_dead_schedulers_run_goes_on_from_its_cursor(
    connection: RawConnection, database: Database
) -> None:
    run_id = await new_run(connection)
    dead = await task_runs.claim(
        connection, run_id, token=uuid4(), node_name="scheduler-1", lease_seconds=LEASE_SECONDS
    )
    assert dead is not None
    async with Run(dead, database, lease_seconds=LEASE_SECONDS, is_leaving=lambda: False).step():
        await connection.fetchval("SELECT 1")
    await connection.execute("UPDATE task_runs SET cursor = '{\"after\": 7}'")
    found: list[object] = []

    async def doing(run: Run, _parameters: object) -> Nothing:
        found.append(run.cursor)
        return await done_once(run, None)

    await worker(database, doing, "scheduler-2")(RunTask(run_id))
    assert found == [], "the lease lasts"
    await be_over(connection, run_id)
    await worker(database, doing, "scheduler-2")(RunTask(run_id))
    assert found == [{"after": 7}]
    row = await run_row(connection, run_id)
    assert (row["state"], row["node_name"], row["failures"]) == ("succeeded", "scheduler-2", 1)
    assert row["error"] == "scheduler-1 gave no more sign of life."


async def test_who_was_overtaken_can_do_nothing_more(connection: RawConnection, database: Database) -> None:
    run_id, went_on, committed = await new_run(connection), asyncio.Event(), []

    async def frozen(run: Run, _parameters: object) -> Nothing:
        async with run.step():
            run.cursor = {"by": "the first"}
        await went_on.wait()
        async with run.step():
            committed.append("the first")
        return Nothing(2)

    first = asyncio.create_task(worker(database, frozen, "scheduler-1")(RunTask(run_id)))
    await until(lambda: cursor_is(connection, run_id, {"by": "the first"}))
    await be_over(connection, run_id)
    await worker(database, done_once, "scheduler-2")(RunTask(run_id))
    went_on.set()
    await first
    assert committed == []
    row = await run_row(connection, run_id)
    assert (row["state"], row["node_name"], json.loads(row["result"])) == ("succeeded", "scheduler-2", {"steps": 1})


async def cursor_is(connection: RawConnection, run_id: int, cursor: object) -> bool:
    return bool(json.loads((await run_row(connection, run_id))["cursor"]) == cursor)


async def test_a_long_run_keeps_its_lease(connection: RawConnection, database: Database) -> None:
    run_id, may_end = await new_run(connection), asyncio.Event()

    async def long(run: Run, _parameters: object) -> Nothing:
        await may_end.wait()
        return await done_once(run, None)

    holder = worker(database, long, lease_seconds=0.5)
    renewing = asyncio.create_task(holder.run())
    doing = asyncio.create_task(holder(RunTask(run_id)))
    try:
        await until(lambda: is_running(connection, run_id))
        free_at = (await run_row(connection, run_id))["free_at"]
        await until(lambda: is_renewed(connection, run_id, free_at))
        may_end.set()
        await doing
    finally:
        renewing.cancel()
    assert (await run_row(connection, run_id))["failures"] == 0


async def is_running(connection: RawConnection, run_id: int) -> bool:
    return bool((await run_row(connection, run_id))["state"] == "running")


async def is_renewed(connection: RawConnection, run_id: int, free_at: Any) -> bool:
    """Longer than the lease that was first given."""
    found = await connection.fetchval(
        "SELECT free_at > $2::timestamptz + interval '0.6 s' FROM task_runs WHERE id = $1", run_id, free_at
    )
    return bool(found)


async def test_a_run_whose_task_is_deleted_is_broken_off(connection: RawConnection, database: Database) -> None:
    run_id = await new_run(connection)

    async def endless(run: Run, _parameters: object) -> Nothing:
        await asyncio.Event().wait()
        return Nothing()

    holder = worker(database, endless, lease_seconds=0.5)
    renewing = asyncio.create_task(holder.run())
    doing = asyncio.create_task(holder(RunTask(run_id)))
    try:
        await until(lambda: is_running(connection, run_id))
        await connection.execute("DELETE FROM tasks")
        await asyncio.wait_for(doing, 30)
    finally:
        renewing.cancel()


# Failures


async def test_what_fails_is_tried_again_and_then_shown_as_failed(
    connection: RawConnection, database: Database, clock: Clock, broker: FakeBroker
) -> None:
    run_id = await new_run(connection)

    async def failing(run: Run, _parameters: object) -> Nothing:
        raise TaskFailed(f"There is no list\x00, said try {run.claimed.failures + 1}.")

    for number in range(1, MAX_TRIES + 1):
        await worker(database, failing)(RunTask(run_id))
        row = await run_row(connection, run_id)
        assert (row["failures"], row["error"]) == (number, f"There is no list?, said try {number}.")
        if number < MAX_TRIES:
            assert row["state"] == "waiting"
            assert row["free_at"] == row["publish_due_at"]
            await worker(database, failing)(RunTask(run_id))
            assert (await run_row(connection, run_id))["failures"] == number, "not before the wait is over"
            await be_over(connection, run_id)
            await clock.publish_overdue()
            assert published(broker) == [RunTask(run_id)]
            published(broker).clear()
    assert (row["state"], row["publish_due_at"]) == ("failed", None)
    assert row["ended_at"] is not None


async def test_a_run_that_kills_its_schedulers_is_given_up(connection: RawConnection, database: Database) -> None:
    run_id = await new_run(connection)
    for number in range(MAX_TRIES):
        claimed = await task_runs.claim(
            connection, run_id, token=uuid4(), node_name=f"scheduler-{number}", lease_seconds=LEASE_SECONDS
        )
        assert claimed is not None
        await be_over(connection, run_id)
    await worker(database, done_once)(RunTask(run_id))
    row = await run_row(connection, run_id)
    assert (row["state"], row["failures"]) == ("failed", MAX_TRIES)
    assert row["error"] == f"scheduler-{MAX_TRIES - 1} gave no more sign of life."


async def test_a_fault_is_shown_and_tried_again(connection: RawConnection, database: Database) -> None:
    run_id = await new_run(connection)

    async def faulty(run: Run, _parameters: object) -> Nothing:
        async with run.step():
            run.cursor = {"after": "what was rolled back"}
            raise KeyError("a fault of ours")

    await worker(database, faulty)(RunTask(run_id))
    row = await run_row(connection, run_id)
    assert (row["state"], row["error"], json.loads(row["cursor"])) == ("waiting", "KeyError: 'a fault of ours'", {})


async def test_a_run_that_loses_the_database_is_tried_again_from_its_cursor(
    connection: RawConnection, database: Database
) -> None:
    run_id = await new_run(connection)

    async def cut_off(run: Run, _parameters: object) -> Nothing:
        async with run.step():
            run.cursor = {"after": 7}
        async with run.step() as mine:
            await mine.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return Nothing(2)

    await worker(database, cut_off)(RunTask(run_id))
    row = await run_row(connection, run_id)
    assert (row["state"], row["failures"], json.loads(row["cursor"])) == ("waiting", 1, {"after": 7})
    assert row["error"].startswith("The database was away")


async def test_a_kind_or_parameters_that_nobody_knows_fail(connection: RawConnection, database: Database) -> None:
    run_id = await new_run(connection)
    await connection.execute("UPDATE tasks SET kind = 'of a later version'")
    await worker(database, done_once)(RunTask(run_id))
    assert "later version" in (await run_row(connection, run_id))["error"]
    await be_over(connection, run_id)
    await connection.execute("UPDATE tasks SET kind = 'purge', parameters = '{\"run_days\": 0}'")
    await worker(database, done_once)(RunTask(run_id))
    assert "run_days" in (await run_row(connection, run_id))["error"]


# Leaving


async def test_who_leaves_hands_over_at_the_next_step(connection: RawConnection, database: Database) -> None:
    run_id, told = await new_run(connection), asyncio.Event()

    async def two_steps(run: Run, _parameters: object) -> Nothing:
        async with run.step():
            run.cursor = {"steps": run.cursor.get("steps", 0) + 1}
        await told.wait()
        async with run.step():
            return Nothing(run.cursor["steps"])

    leaving = worker(database, two_steps)
    doing = asyncio.create_task(leaving(RunTask(run_id)))
    await until(lambda: cursor_is(connection, run_id, {"steps": 1}))
    leaving.leave(cut_off_after_seconds=30)
    told.set()
    await doing
    row = await run_row(connection, run_id)
    assert (row["state"], row["claim"], row["failures"], row["ended_at"]) == ("waiting", None, 0, None)
    await worker(database, two_steps, "scheduler-2")(RunTask(run_id))
    row = await run_row(connection, run_id)
    assert (row["state"], json.loads(row["result"]), row["node_name"]) == ("succeeded", {"steps": 2}, "scheduler-2")


async def test_what_comes_to_no_step_is_broken_off_and_handed_over(
    connection: RawConnection, database: Database
) -> None:
    run_id = await new_run(connection)

    async def endless(run: Run, _parameters: object) -> Nothing:
        await asyncio.Event().wait()
        return Nothing()

    leaving = worker(database, endless)
    doing = asyncio.create_task(leaving(RunTask(run_id)))
    await until(lambda: is_running(connection, run_id))
    leaving.leave(cut_off_after_seconds=0.05)
    await asyncio.wait_for(doing, 30)
    row = await run_row(connection, run_id)
    assert (row["state"], row["claim"], row["failures"]) == ("waiting", None, 0)
