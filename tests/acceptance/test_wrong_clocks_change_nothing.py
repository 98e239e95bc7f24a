"""Nodes whose clocks are ten minutes wrong, and some whose clocks are set back an hour, do what the others do."""

from __future__ import annotations

import json
import re
import time
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Service
from deploy.local.dns_server import DnsServer, Records, dns_server_in_a_thread, txt
from deploy.local.live_cluster import LiveCluster
from deploy.local.sink import NODE_DOMAIN
from deploy.local.wall_clock import WallClock
from tests.acceptance.debian_part import need

LEASE = "4"
TEN_MINUTES, HOUR = 600.0, 3600.0
MEMBERS, SLOW, LATE = 1000, 60, 40
EVERYBODY = MEMBERS + SLOW + LATE
PER_SECOND = 40
PER_MINUTE = 300
RETRY_SECONDS = 10.0
#: An attempt begins and is recorded within so long of its moment, with the mailing's other recipients in line.
LINE_SECONDS = 15.0


@pytest.fixture
def clocks(tmp_path: Path) -> dict[str, WallClock]:
    """By process."""
    need("faketime", "faketime")
    ahead = {"outbound-1": TEN_MINUTES, "outbound-2": -TEN_MINUTES, "admin": TEN_MINUTES, "scheduler": 0.0}
    return {name: WallClock(tmp_path / name, ahead_seconds=seconds) for name, seconds in ahead.items()}


@pytest.fixture
def records() -> dict[tuple[str, str], list[str] | str]:
    return {}


@pytest.fixture
def dns(records: Records) -> Iterator[DnsServer]:
    with dns_server_in_a_thread(records) as server:
        yield server


@pytest.mark.long
def test_wrong_clocks_change_nothing(
    cluster: LiveCluster,
    clocks: dict[str, WallClock],
    dns: DnsServer,
    records: dict[tuple[str, str], list[str] | str],
) -> None:
    sink, api = cluster.sink, cluster.api
    sink.keeps_contents = True
    _start(cluster, clocks, dns)
    api.set_node_defaults(max_messages_per_second=PER_SECOND)
    api.limit_domain("slow.test", messages_per_minute=PER_MINUTE)
    news = cluster.create_list("news", members=MEMBERS)
    _sign(cluster, records)
    schedule = {"retry_schedule_seconds": [RETRY_SECONDS]}
    assert api.request("PATCH", f"/lists/{news}", json=schedule).status_code == 200
    cluster.import_members(news, [f"slow-{number}@slow.test" for number in range(SLOW)])
    cluster.import_members(news, [f"late-{number}@late.test" for number in range(LATE)])
    for number in range(LATE):
        sink.answer(f"^late-{number}@", "450 4.2.0 not now", times=1)

    message = cluster.post(news, "To everybody")
    sink.wait_for_recipients(EVERYBODY // 4, 60)
    clocks["scheduler"].set_ahead(-HOUR)
    clocks["outbound-1"].set_ahead(TEN_MINUTES - HOUR)
    mailing_id = cluster.wait_until_finished(message, 90)

    assert sorted(sink.copies_per_recipient().values()) == [1] * EVERYBODY, "one copy each"
    for node in ("outbound-1", "outbound-2"):
        # What a busy machine holds up for half a second arrives together with what is sent then.
        assert PER_SECOND / 2 < sink.highest_rate_of(node) <= 1.5 * PER_SECOND + 1
    assert _busiest(sink.times_of("slow.test"), 10) <= PER_MINUTE / 60 * 10.5 + 1

    waits = _waits_seconds(cluster, mailing_id)
    assert len(waits) == LATE
    assert all(0.9 * RETRY_SECONDS <= wait <= 1.1 * RETRY_SECONDS + LINE_SECONDS for wait in waits), sorted(waits)
    assert _busiest(sink.times_of("late.test"), 0.5) < LATE * 3 / 4, "not all at once"

    assert {node["state"] for node in api.nodes()} == {"live"}
    assert all(delivery["deaths"] == 0 for delivery in api.deliveries(mailing_id))
    logs = {service.name: service.log.read_text() for service in cluster.processes.services}
    for name, log in logs.items():
        assert not re.search("taken over|took over|Traceback|non-negative", log), name
    _assert_clocks_were_wrong(logs)

    now_seconds = time.time()
    moments = [int(moment) for copy in sink.copies for moment in re.findall(rb" t=(\d+);", copy.content)]
    assert len(moments) == EVERYBODY
    assert all(now_seconds - TEN_MINUTES / 4 < moment <= now_seconds for moment in moments), "signed now"
    ends_at = datetime.now(UTC) + timedelta(seconds=TEN_MINUTES / 2)
    suppression = {"email": "member-1@members.test", "ends_at": ends_at.isoformat()}
    assert api.request("POST", "/suppressions", json=suppression).status_code == 201, "it has not passed"


def _start(cluster: LiveCluster, clocks: dict[str, WallClock], dns: DnsServer) -> None:
    def start(kind: str, clock: str, **settings: str) -> Service:
        own = {f"LISTFLEET_{name.upper()}": value for name, value in settings.items()}
        return cluster.processes.start_process(kind, clock, {**clocks[clock].environment, **own})

    start(
        "admin_api",
        "admin",
        admin_port=str(cluster.admin_port),
        admin_token=cluster.token,
        dns_resolver=f"127.0.0.1:{dns.port}",
    )
    cluster.start_ingress()
    start("scheduler", "scheduler", lease_seconds=LEASE)
    cluster.start_scheduler(lease_seconds=LEASE)
    for name in ("outbound-1", "outbound-2"):
        start("outbound_sender", name, node_name=name, hostname=name + NODE_DOMAIN, lease_seconds=LEASE)
    cluster.processes.wait_until_ready()


def _sign(cluster: LiveCluster, records: dict[tuple[str, str], list[str] | str]) -> None:
    new = {"domain": cluster.domain, "algorithm": "ed25519-sha256"}
    key = cluster.api.request("POST", "/dkim-keys", json=new).json()
    records[key["record"]["name"], "TXT"] = [txt(key["record"]["text"])]
    for step in ("check", "activate"):
        assert cluster.api.request("POST", f"/dkim-keys/{key['id']}/{step}").status_code == 200


def _busiest(moments: list[float], seconds: float) -> int:
    """The most in any window of that length."""
    return max(bisect_left(moments, first + seconds) - place for place, first in enumerate(moments))


def _waits_seconds(cluster: LiveCluster, mailing_id: int) -> list[float]:
    """From the first attempt's record to the second's, of those that needed two."""

    def ended_at(attempt: Any) -> datetime:
        return datetime.fromisoformat(attempt["ended_at"])

    tries = [delivery["attempts"] for delivery in cluster.api.deliveries(mailing_id)]
    assert max(len(attempts) for attempts in tries) == 2
    return [(ended_at(last) - ended_at(first)).total_seconds() for first, *others in tries for last in others]


def _assert_clocks_were_wrong(logs: dict[str, str]) -> None:
    now = datetime.now(UTC)

    def ahead_seconds(name: str) -> float:
        """By the moment of the process's first line."""
        line = json.loads(logs[name].splitlines()[0])
        return (datetime.fromisoformat(line["timestamp"]) - now).total_seconds()

    assert ahead_seconds("outbound-1") > TEN_MINUTES / 2
    assert ahead_seconds("outbound-2") < -TEN_MINUTES / 2
