"""Every command of docs/receiving-mail.md, as it stands there, with Knot as the provider's name server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import PROJECT
from deploy.local.knot import Knot
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK, free_port
from tests.acceptance.debian_part import need

PAGE = PROJECT / "docs" / "receiving-mail.md"
#: Those in which the records of the page's example are.
ZONES = ("example.com", "2.0.192.in-addr.arpa", "ip6.arpa")


@pytest.fixture
def knot(cluster: LiveCluster, run_folder: Path) -> Iterator[Knot]:
    need("knotd", "knot")
    need("curl", "curl")
    server = Knot(run_folder / "guide-knot", LOOPBACK, free_port(), ZONES)
    try:
        server.start()
        cluster.start_admin(dns_resolver=f"{LOOPBACK}:{server.port}")
        cluster.start_scheduler(dns_resolver=f"{LOOPBACK}:{server.port}")
        cluster.processes.wait_until_ready()
        yield server
    finally:
        server.stop()


def test_the_guide_to_receiving_mail_can_be_followed(cluster: LiveCluster, knot: Knot, tmp_path: Path) -> None:
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    first, state, take, check, sign = blocks

    def follow(block: str) -> str:
        commands = block.replace("http://127.0.0.1:8080", f"http://{LOOPBACK}:{cluster.admin_port}")
        environment = os.environ | {"TOKEN": cluster.token}
        ran = subprocess.run(
            ["bash", "-e", "-c", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, (block, ran.stderr, ran.stdout)
        return ran.stdout

    for block in (first, state, take, check):
        follow(block)
    before = json.loads((tmp_path / "check.json").read_text())
    assert set(before["counts"]) == {"missing"}
    new = {"name": "DNS", "kind": "dns_check", "cron": "0 6 * * *"}
    task = cluster.api.request("POST", "/tasks", json=new).raise_for_status().json()
    found = _found_by_task(cluster, task["id"])
    assert (found["is_right"], found["counts"]) == (False, before["counts"])
    mends = {(finding["name"], finding["type"]): finding["mend"] for finding in before["findings"]}
    assert {(record["name"], record["type"]): record["mend"] for record in found["not_right"]} == mends

    knot.serve({zone: (tmp_path / f"{zone}.records").read_text() for zone in ZONES})
    follow(check)
    after = json.loads((tmp_path / "check.json").read_text())
    assert after["is_right"], [finding for finding in after["findings"] if finding["state"] != "right"]
    assert sum(after["counts"].values()) == sum(before["counts"].values())
    found = _found_by_task(cluster, task["id"])
    assert (found["is_right"], found["counts"], found["not_right"]) == (True, after["counts"], [])
    purposes = {finding["purpose"] for finding in after["findings"]}
    assert len(purposes) == 7, "a record of every purpose of the table"
    assert '"state":"active"' in follow(sign)


def _found_by_task(cluster: LiveCluster, task_id: int) -> Any:
    """What a run of the task tells, which is asked for now."""
    cluster.api.request("POST", f"/tasks/{task_id}/run").raise_for_status()

    def ended() -> Any:
        newest = cluster.api.get(f"/tasks/{task_id}/runs")["items"][0]
        return newest if newest["state"] not in ("waiting", "running") else None

    run = wait_until(ended, 30)
    assert run["state"] == "succeeded", run
    return run["result"]
