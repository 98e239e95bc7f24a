"""What schedulers ask each second touches the tasks that it is about, however many others there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from shared.store import purges, task_runs, tasks
from shared.store.engine import RawConnection
from tests.integration import stored
from tests.integration.test_query_plans import assert_narrow

TASKS = 5_000
DUE = 20


@pytest.fixture(scope="module")
async def filled(database_url: str) -> None:
    """Tasks of which each has ended runs; of some a run is in hand, and some are due."""
    async with stored.connected(database_url) as connection:
        await connection.execute(
            f"""
            INSERT INTO tasks (name, kind, cron, time_zone, is_enabled, missed, next_due_at)
            SELECT 'task', 'purge', '0 0 1 1 *', 'UTC', true, 'run_once',
                   now() + CASE WHEN n <= {DUE} THEN interval '-1 s' ELSE interval '1 day' END
            FROM generate_series(1, {TASKS}) n;
            INSERT INTO task_runs (task_id, due_at, state, ended_at)
            SELECT tasks.id, now() - make_interval(hours => n), 'succeeded', now() - make_interval(hours => n)
            FROM tasks CROSS JOIN generate_series(1, 10) n;
            INSERT INTO task_runs (task_id, due_at, state, publish_due_at, claim, node_name)
            SELECT id, now(), 'running', now() - interval '1 s', gen_random_uuid(), 'scheduler-1'
            FROM tasks WHERE id > {TASKS - DUE};
            ANALYZE tasks; ANALYZE task_runs
            """
        )


@pytest.fixture
async def connection(database_url: str, filled: None) -> AsyncIterator[RawConnection]:
    """What a test changes is rolled back."""
    async with stored.connected(database_url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await transaction.rollback()


async def run_in_hand(connection: RawConnection) -> int:
    run_id: int = await connection.fetchval("SELECT max(id) FROM task_runs")
    return run_id


async def test_a_look_for_what_is_due_touches_what_is_due(connection: RawConnection) -> None:
    assert len(await tasks.due(connection)) == DUE
    await assert_narrow(connection, tasks.due, at_most=3 * DUE)


async def test_a_look_for_what_is_overdue_touches_what_is_overdue(connection: RawConnection) -> None:
    assert len(await task_runs.publish_due(connection)) == DUE
    await assert_narrow(connection, task_runs.publish_due, at_most=2 * DUE)


async def test_claims_and_renewals_touch_their_runs(connection: RawConnection) -> None:
    run_id, token = await run_in_hand(connection), uuid4()
    await assert_narrow(
        connection,
        lambda c: task_runs.claim(c, run_id, token=token, node_name="scheduler-2", lease_seconds=30),
        at_most=5,
    )
    claimed = await task_runs.claim(connection, run_id, token=token, node_name="scheduler-2", lease_seconds=30)
    assert claimed is not None
    await assert_narrow(connection, lambda c: task_runs.renew(c, [claimed], lease_seconds=30), at_most=5)


async def test_a_purge_of_runs_touches_what_is_old(connection: RawConnection) -> None:
    await assert_narrow(connection, lambda c: purges.purge_runs(c, days=30), at_most=0)
