"""Each acceptance test has a cluster of its own: an empty database, an empty virtual host, a sink."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from deploy.local.cluster import PROJECT
from deploy.local.live_cluster import LiveCluster
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.sink import Sink
from tests.fakes.fresh import VirtualHosts, fresh_database

#: Where the processes of the last run of each test left their logs.
LOGS = PROJECT / ".local" / "test-logs"


@pytest.fixture
def start_sink() -> Iterator[Callable[..., Sink]]:
    """Starts a sink; its arguments are those of `Sink`."""
    started: list[Sink] = []

    def start(**arguments: object) -> Sink:
        sink = Sink(**arguments)  # type: ignore[arg-type]
        sink.start()
        started.append(sink)
        return sink

    yield start
    for sink in started:
        sink.stop()


@pytest.fixture
def sink(start_sink: Callable[..., Sink]) -> Sink:
    """Takes everything at once; `sink.latency_seconds` and `sink.keeps_contents` may be set by the test."""
    return start_sink()


@pytest.fixture
async def cluster(
    request: pytest.FixtureRequest,
    postgres_server: Postgres,
    migrated_template: str,
    rabbitmq_server: RabbitMQ,
    virtual_hosts: VirtualHosts,
    sink: Sink,
) -> AsyncIterator[LiveCluster]:
    """Nothing runs yet: `cluster.start(outbound=4)`. Servers that the test left dead are started again."""
    logs = LOGS / re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.name)
    shutil.rmtree(logs, ignore_errors=True)
    async with fresh_database(postgres_server, migrated_template) as database_url:
        with virtual_hosts.fresh() as broker_url:
            live = LiveCluster(logs, database_url, broker_url, postgres_server, rabbitmq_server, sink)
            yield live
            live.stop()
            for server in (postgres_server, rabbitmq_server):
                if not server.is_running:
                    server.start()
