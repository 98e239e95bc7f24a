"""A cluster of a test's own, `cluster`, or the one that stories share, `running_cluster`; and sinks."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from deploy.local.cluster import PROJECT
from deploy.local.live_cluster import LiveCluster
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.sink import Sink
from tests.acceptance.kept_cluster import KeptCluster
from tests.fakes.fresh import VirtualHosts, fresh_database

#: Where the processes of the last run of each test left their logs.
LOGS = PROJECT / ".local" / "test-logs"
_HAS_FAILED = pytest.StashKey[bool]()


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


@pytest.fixture(scope="session")
def make_cluster(
    launched_rabbitmq: RabbitMQ,  # first, so that it starts while PostgreSQL does
    postgres_server: Postgres,
    migrated_template: str,
    rabbitmq_server: RabbitMQ,
    virtual_hosts: VirtualHosts,
) -> Callable[[str], AbstractAsyncContextManager[LiveCluster]]:
    """Makes a cluster of which nothing runs yet: an empty database, an empty virtual host, a sink, and logs."""

    @asynccontextmanager
    async def make(name: str) -> AsyncIterator[LiveCluster]:
        logs = LOGS / re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
        shutil.rmtree(logs, ignore_errors=True)
        async with fresh_database(postgres_server, migrated_template) as database_url:
            with virtual_hosts.fresh() as broker_url:
                sink = Sink()
                sink.start()
                live = LiveCluster(logs, database_url, broker_url, postgres_server, rabbitmq_server, sink)
                try:
                    yield live
                finally:
                    live.stop()
                    live.start_servers()
                    sink.stop()

    return make


@pytest.fixture
async def cluster(
    request: pytest.FixtureRequest, make_cluster: Callable[[str], AbstractAsyncContextManager[LiveCluster]]
) -> AsyncIterator[LiveCluster]:
    """The test's own, and nothing runs yet: `cluster.start(outbound=4)`. It takes seconds: see `running_cluster`."""
    async with make_cluster(request.node.name) as live:
        yield live


@pytest.fixture(scope="session")
async def kept_cluster(
    make_cluster: Callable[[str], AbstractAsyncContextManager[LiveCluster]],
) -> AsyncIterator[KeptCluster]:
    kept = KeptCluster(lambda: make_cluster("running-cluster"))
    yield kept
    await kept.throw_away()


@pytest.fixture
async def running_cluster(request: pytest.FixtureRequest, kept_cluster: KeptCluster) -> AsyncIterator[LiveCluster]:
    """Runs already, with outbound-1 to outbound-4, and the stories share it; a story's domains and copies are its own.

    A story ends when its mail has arrived. What it kills runs again for the next, and node settings are forgotten.
    After a story that failed there is a new cluster.
    """
    yield await kept_cluster.for_a_story()
    if request.node.stash.get(_HAS_FAILED, False):
        await kept_cluster.throw_away()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_HAS_FAILED] = True
    return report
