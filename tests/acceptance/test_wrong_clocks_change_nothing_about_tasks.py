"""Schedulers whose clocks are ten minutes fast, ten minutes slow, or set back by an hour while they run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.wall_clock import WallClock
from tests.acceptance.debian_part import need

TASKS = 20
#: Of each scheduler's clock: how many seconds it is ahead, and how many after it was set while the tasks run.
CLOCKS = ((600, 600), (-600, -600), (0, -3600), (0, 3600))


@pytest.fixture
def clocks(tmp_path: Path) -> list[WallClock]:
    """Of each scheduler, as they are at first."""
    need("faketime", "faketime")
    return [WallClock(tmp_path / f"{number}", ahead_seconds=first) for number, (first, _) in enumerate(CLOCKS)]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def make_task(cluster: LiveCluster, **schedule: str) -> int:
    task = {"name": "Old runs", "kind": "purge", "parameters": {"run_days": 30}, **schedule}
    answer = cluster.api.request("POST", "/tasks", json=task)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


@pytest.mark.long
def test_a_wrong_clock_runs_nothing_early_late_or_twice(cluster: LiveCluster, clocks: list[WallClock]) -> None:
    cluster.start_admin()
    for clock in clocks:
        cluster.processes.start_process("scheduler", None, clock.environment)
    cluster.processes.wait_until_ready()
    logs = [service.log.read_text() for service in cluster.processes.of_kind("scheduler")]
    assert len({log.split('"timestamp"')[1][:20] for log in logs}) > 1, "the clocks are wrong"

    later, soon = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (400, 8))
    not_yet = make_task(cluster, at=later.isoformat())
    due = [make_task(cluster, at=soon.isoformat()) for _ in range(TASKS)]
    for clock, (_, after) in zip(clocks, CLOCKS, strict=True):
        clock.set_ahead(after)

    def done() -> list[Any] | None:
        tasks = [cluster.api.get(f"/tasks/{task_id}") for task_id in due]
        ran = [task["latest_run"] for task in tasks if (task["latest_run"] or {}).get("state") == "succeeded"]
        return ran if len(ran) == TASKS else None

    runs = wait_until(done, 60, every_seconds=0.5)
    for run in runs:
        assert moment(run["due_at"]) == soon
        assert soon <= moment(run["started_at"]) <= moment(run["ended_at"])
        assert run["failures"] == 0
        assert [only["id"] for only in cluster.api.get(f"/tasks/{run['task_id']}/runs")["items"]] == [run["id"]]
    assert datetime.now(UTC) < later
    assert cluster.api.get(f"/tasks/{not_yet}")["latest_run"] is None
    assert {node["state"] for node in cluster.api.nodes()} == {"live"}
