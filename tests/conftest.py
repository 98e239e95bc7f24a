"""A real PostgreSQL and a real RabbitMQ, started once a run and only when a test asks for them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from deploy.local.cluster import PROJECT
from deploy.local.ports import keep_to_part
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.rabbitmq_install import find_or_install_server
from shared.store.engine import RawConnection
from tests.fakes.fresh import VirtualHosts, fresh_database
from tests.integration import stored

# How long an example takes, and how long it takes to think of one, is the machine's business.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


if (process := os.environ.get("PYTEST_XDIST_WORKER", "")).startswith("gw"):
    keep_to_part(int(process[2:]), of=int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


class StoriesBesideTheRest(LoadScopeScheduling):
    """For a run in two processes, each with servers of its own: one begins with the stories, the other with the rest.

    Whoever is through with its own helps the other. Stories that share a cluster stay together.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _SHARING if _is_story(file) and "running_cluster" in (PROJECT / file).read_text() else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        tells_stories = node is self.nodes[0]
        of_its_own = (scope for scope in self.workqueue if _is_story(scope) is tells_stories)
        # Of the stories, those on the shared cluster come first: they are the most, and nobody can help with them.
        first = _SHARING if tells_stories and _SHARING in self.workqueue else next(of_its_own, None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


_STORIES = "tests/acceptance/"
_SHARING = f"{_STORIES}on the shared cluster"


def _is_story(scope: str) -> bool:
    return scope.startswith(_STORIES)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> StoriesBesideTheRest:
    return StoriesBesideTheRest(config, log)


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A folder for this run that every user of the machine may pass through: PostgreSQL is not run by root."""
    with tempfile.TemporaryDirectory(prefix="listfleet-tests-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
def postgres_server(run_folder: Path) -> Iterator[Postgres]:
    """The server itself, to kill and start again; a test leaves it running."""
    server = Postgres(run_folder / "postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres(postgres_server: Postgres) -> str:
    """The URL of the server's first database."""
    return postgres_server.url


@pytest.fixture(scope="session")
def launched_rabbitmq(run_folder: Path) -> Iterator[RabbitMQ]:
    """The node, which may still be starting: for those who start PostgreSQL meanwhile."""
    node = RabbitMQ(run_folder / "rabbitmq", find_or_install_server())
    node.launch()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def rabbitmq_server(launched_rabbitmq: RabbitMQ) -> RabbitMQ:
    """The node itself, to kill and start again; a test leaves it running."""
    launched_rabbitmq.wait_until_ready()
    return launched_rabbitmq


@pytest.fixture(scope="session")
def rabbitmq(rabbitmq_server: RabbitMQ) -> str:
    """The URL of the node's first virtual host, shared by all tests."""
    return rabbitmq_server.url


@pytest.fixture(scope="session")
async def migrated_template(postgres_server: Postgres) -> str:
    """The name of a database at the newest schema, which is copied and never used."""
    from deploy.migrations.__main__ import migrate

    name = "listfleet_template"
    connection = await asyncpg.connect(postgres_server.url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    await migrate(postgres_server.url_of(name))
    return name


@pytest.fixture(scope="module")
async def database_url(postgres_server: Postgres, migrated_template: str) -> AsyncIterator[str]:
    """The URL of an empty database at the newest schema, this module's own."""
    async with fresh_database(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture(scope="module")
async def kept_connection(database_url: str) -> AsyncIterator[RawConnection]:
    """One connection for the tests of a module: a new one plans every statement anew, some 50 ms a test."""
    async with stored.connected(database_url) as connection:
        yield connection


@pytest.fixture
async def connection(kept_connection: RawConnection) -> AsyncIterator[RawConnection]:
    """A connection to the module's database, whose tables are empty; the rows must be consistent afterwards."""
    await kept_connection.reset()
    await stored.empty(kept_connection)
    yield kept_connection
    await stored.assert_consistent(kept_connection)


@pytest.fixture(scope="session")
def virtual_hosts(rabbitmq_server: RabbitMQ) -> VirtualHosts:
    """Where a test gets an empty virtual host of its own."""
    return VirtualHosts(rabbitmq_server)


@pytest.fixture(scope="module")
def broker_url(virtual_hosts: VirtualHosts) -> Iterator[str]:
    """The URL of an empty virtual host, this module's own."""
    with virtual_hosts.fresh() as url:
        yield url
