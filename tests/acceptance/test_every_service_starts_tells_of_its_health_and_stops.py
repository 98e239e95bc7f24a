"""Each service as a process: settings, health, metrics, logs, a clean end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from deploy.local.cluster import PROJECT, Service
from deploy.local.live_cluster import LiveCluster

SERVICES = ("ingress_smtp", "tracking_api", "scheduler", "outbound_sender", "admin_api")


def test_every_service_tells_of_its_health_and_ends_cleanly_when_told(cluster: LiveCluster) -> None:
    cluster.start_tracking()
    cluster.start()

    assert {service.kind for service in cluster.processes.services} == set(SERVICES)
    for service in cluster.processes.services:
        health = f"http://127.0.0.1:{service.health_port}"
        assert httpx.get(f"{health}/healthz").status_code == 200
        assert httpx.get(f"{health}/readyz").status_code == 200
        metrics = httpx.get(f"{health}/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "process_cpu_seconds_total" in metrics.text
    for service in cluster.processes.services:
        service.terminate()
    for service in cluster.processes.services:
        assert service.wait(30) == 0, service.name
        assert _log_lines(service)[-1]["event"] == "stopped"


@pytest.fixture(scope="module")
def ended() -> dict[str, subprocess.CompletedProcess[str]]:
    """Each service, started with a setting that is wrong and without one that it needs; all at once."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LISTFLEET_")}

    def start(kind: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"services.{kind}"],
            cwd=PROJECT,
            env=clean | {"LISTFLEET_LOG_LEVEL": "loud"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    with ThreadPoolExecutor(len(SERVICES)) as starting:
        return dict(zip(SERVICES, starting.map(start, SERVICES), strict=True))


@pytest.mark.parametrize("kind", SERVICES)
def test_a_missing_setting_ends_the_process_with_a_sentence_that_names_it(
    kind: str, ended: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    assert ended[kind].returncode == 2
    assert "LISTFLEET_LOG_LEVEL is wrong" in ended[kind].stderr
    assert "LISTFLEET_DATABASE_URL is not set." in ended[kind].stderr
    assert "Traceback" not in ended[kind].stderr


def test_a_second_process_with_a_live_name_ends_and_says_so(running_cluster: LiveCluster) -> None:
    second = running_cluster.processes.start_service("outbound_sender", "second", node_name="outbound-1")

    assert second.wait(30) == 1
    running_cluster.processes.services.remove(second)  # it is not to run again
    assert "LISTFLEET_NODE_NAME" in _log_lines(second)[-1]["event"]


def _log_lines(service: Service) -> list[dict[str, str]]:
    return [json.loads(line) for line in service.log.read_text().splitlines()]
