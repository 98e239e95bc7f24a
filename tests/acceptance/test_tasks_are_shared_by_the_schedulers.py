"""Two hundred tasks are due at the same moment, and four schedulers share them: each is done once, also when one of the
four is killed and another is told to leave meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from deploy.local.cluster import Service
from deploy.local.live_cluster import LiveCluster
from tests.fakes.file_host import FileHost, csv_of, file_host
from tests.fakes.waiting import until

TASKS = 200
SCHEDULERS = 4
LEASE_SECONDS = 4
#: Runs that a scheduler has in hand at once.
AT_ONCE = 4


@pytest.fixture
async def files() -> AsyncIterator[FileHost]:
    """A host that takes its time: a file for each task, with one member."""
    async with file_host(lambda path: csv_of(f"member-{path[1:]}@members.test"), latency_seconds=0.1) as host:
        yield host


def start(cluster: LiveCluster, files: FileHost) -> list[Service]:
    """The API and the schedulers."""
    cluster.start_admin(sync_hosts=files.place)
    for number in range(1, SCHEDULERS + 1):
        cluster.start_scheduler(
            node_name=f"scheduler-{number}",
            task_lease_seconds=str(LEASE_SECONDS),
            tasks_at_once=str(AT_ONCE),
            sync_hosts=files.place,
            allow_private_hosts="true",
        )
    cluster.processes.wait_until_ready()
    return cluster.processes.of_kind("scheduler")


async def let_tasks_be_due(cluster: LiveCluster, files: FileHost, round_name: str) -> None:
    """So many at this moment, each with a file of its own."""
    address = cluster.create_list(round_name)
    connection = await asyncpg.connect(cluster.database_url)
    try:
        await connection.execute(
            """
            INSERT INTO tasks (name, kind, parameters, time_zone, at, is_enabled, missed, next_due_at)
            SELECT $1 || ' ' || n, 'member_sync', jsonb_build_object('list', $2::text, 'url', $3 || n), 'UTC', now(),
                   true, 'run_once', now()
            FROM generate_series(0, $4 - 1) n
            """,
            round_name,
            address,
            files.url(f"/{round_name}-"),
            TASKS,
        )
    finally:
        await connection.close()


def newest_runs(cluster: LiveCluster, round_name: str) -> list[Any]:
    tasks = [task for task in cluster.api.pages("/tasks", limit=1000) if task["name"].startswith(f"{round_name} ")]
    return [task["latest_run"] for task in tasks if task["latest_run"] is not None]


async def drain(cluster: LiveCluster, name: str) -> None:
    """Return when the node knows."""
    cluster.api.drain(name)
    told_at = cluster.api.get(f"/nodes/{name}")["renewed_at"]
    await until(lambda: bool(cluster.api.get(f"/nodes/{name}")["renewed_at"] != told_at))


async def kill_with_runs_in_hand(cluster: LiveCluster, scheduler: Service, name: str) -> None:
    connection = await asyncpg.connect(cluster.database_url)

    async def is_caught() -> bool:
        scheduler.freeze()
        in_hand = "SELECT count(*) FROM task_runs WHERE node_name = $1 AND state = 'running'"
        # One may just be ending.
        if await connection.fetchval(in_hand, name) > 1:
            return True
        scheduler.thaw()
        return False

    try:
        await until(is_caught)
        await asyncio.to_thread(scheduler.kill)
    finally:
        await connection.close()


async def all_done(cluster: LiveCluster, round_name: str) -> list[Any]:
    """The runs, once each has succeeded; no task has a second one."""

    async def is_done() -> bool:
        runs = await asyncio.to_thread(newest_runs, cluster, round_name)
        return Counter(run["state"] for run in runs)["succeeded"] == TASKS

    await until(is_done, within_seconds=90)
    connection = await asyncpg.connect(cluster.database_url)
    try:
        count = "SELECT count(*) FROM task_runs r JOIN tasks t ON t.id = task_id WHERE name LIKE $1"
        assert await connection.fetchval(count, f"{round_name} %") == TASKS
    finally:
        await connection.close()
    runs = newest_runs(cluster, round_name)
    for run in runs:
        due_at, started_at, ended_at = (
            datetime.fromisoformat(run[f"{name}_at"]) for name in ("due", "started", "ended")
        )
        assert due_at <= started_at <= ended_at
    return runs


async def test_tasks_that_are_due_at_once_are_shared_and_done_once(cluster: LiveCluster, files: FileHost) -> None:
    schedulers = await asyncio.to_thread(start, cluster, files)
    names = {node["name"] for node in cluster.api.nodes() if node["kind"] == "scheduler"}
    assert len(names) == SCHEDULERS

    await let_tasks_be_due(cluster, files, "calm")
    runs = await all_done(cluster, "calm")
    shares = Counter(run["node"] for run in runs)
    assert shares.keys() == names
    assert all(0.15 * TASKS <= share <= 0.35 * TASKS for share in shares.values()), shares
    assert files.asked == Counter({f"/calm-{number}": 1 for number in range(TASKS)})
    assert not any(run["failures"] for run in runs)
    members = {member["email"] for member in cluster.api.pages("/lists/calm@lists.test/members", limit=1000)}
    assert members == {f"member-calm-{number}@members.test" for number in range(TASKS)}

    await drain(cluster, "scheduler-4")
    files.asked.clear()
    await let_tasks_be_due(cluster, files, "rough")
    await until(lambda: sum(files.asked.values()) >= TASKS // 8)
    await kill_with_runs_in_hand(cluster, schedulers[1], "scheduler-2")
    await until(lambda: sum(files.asked.values()) >= TASKS // 2)
    schedulers[2].terminate()
    runs = await all_done(cluster, "rough")
    assert await asyncio.to_thread(schedulers[2].wait, 30) == 0
    assert "scheduler-4" not in {run["node"] for run in runs}, "it is drained"
    taken_over = [run for run in runs if run["failures"]]
    assert 1 <= len(taken_over) <= AT_ONCE
    assert {run["error"] for run in taken_over} == {"scheduler-2 gave no more sign of life."}
    assert all(run["failures"] == 1 for run in taken_over)
    # The dead one's were asked for again, and those that the leaving one handed over.
    assert set(files.asked) == {f"/rough-{number}" for number in range(TASKS)}
    assert sum(files.asked.values()) <= TASKS + 2 * AT_ONCE
    members = {member["email"] for member in cluster.api.pages("/lists/rough@lists.test/members", limit=1000)}
    assert len(members) == TASKS
    assert cluster.api.get("/nodes/scheduler-3")["left_because"] == "drained"
