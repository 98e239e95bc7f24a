"""Two hundred tasks are due at the same moment, and four schedulers share them; then one of them is killed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.local.live_cluster import LiveCluster, wait_until

TASKS = 200
SCHEDULERS = 4
LEASE_SECONDS = 4


def _due_in(cluster: LiveCluster, seconds: float) -> datetime:
    """Makes the tasks, all due at one moment."""
    due_at = datetime.now(UTC) + timedelta(seconds=seconds)
    for number in range(TASKS):
        task = {"name": f"Task {number}", "kind": "purge", "parameters": {"run_days": 30}, "at": due_at.isoformat()}
        answer = cluster.api.request("POST", "/tasks", json=task)
        assert answer.status_code == 201, answer.text
    assert datetime.now(UTC) < due_at, "all are there before they are due"
    return due_at


def _latest_runs(cluster: LiveCluster, due_at: datetime) -> list[Any]:
    """The newest run of each task that was due at that moment."""
    tasks = cluster.api.pages("/tasks", limit=1000)
    of_moment = [task for task in tasks if task["at"] and datetime.fromisoformat(task["at"]) == due_at]
    return [task["latest_run"] for task in of_moment if task["latest_run"] is not None]


def _wait_until_done(cluster: LiveCluster, due_at: datetime, timeout_seconds: float) -> list[Any]:
    def done() -> list[Any] | None:
        runs = _latest_runs(cluster, due_at)
        return runs if sum(run["state"] == "succeeded" for run in runs) == TASKS else None

    return wait_until(done, timeout_seconds, every_seconds=0.2)


def _assert_each_ran_once(cluster: LiveCluster, runs: list[Any], due_at: datetime) -> None:
    for run in runs:
        (only,) = cluster.api.get(f"/tasks/{run['task_id']}/runs")["items"]
        assert only == run
        assert datetime.fromisoformat(run["due_at"]) == due_at
        assert datetime.fromisoformat(run["started_at"]) >= due_at


def test_tasks_that_are_due_at_once_are_shared_and_survive_a_dead_scheduler(cluster: LiveCluster) -> None:
    cluster.start_admin()
    for _ in range(SCHEDULERS):
        cluster.start_scheduler(task_lease_seconds=str(LEASE_SECONDS))
    cluster.processes.wait_until_ready()
    names = {node["name"] for node in cluster.api.nodes() if node["kind"] == "scheduler"}
    assert len(names) == SCHEDULERS

    due_at = _due_in(cluster, 20)
    runs = _wait_until_done(cluster, due_at, 60)
    _assert_each_ran_once(cluster, runs, due_at)
    shares = Counter(run["node"] for run in runs)
    assert shares.keys() == names
    assert all(0.15 * TASKS <= share <= 0.35 * TASKS for share in shares.values()), shares
    assert not any(run["failures"] for run in runs)

    due_at = _due_in(cluster, 20)
    wait_until(lambda: any(run["state"] != "waiting" for run in _latest_runs(cluster, due_at)), 60)
    cluster.processes.service("scheduler-2").kill()
    runs = _wait_until_done(cluster, due_at, 60)
    _assert_each_ran_once(cluster, runs, due_at)
    taken_over = [run for run in runs if run["failures"]]
    assert all(run["failures"] == 1 and "no more sign of life" in run["error"] for run in taken_over)
