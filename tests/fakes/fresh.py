"""Empty rooms in the servers of a test run: a database, a virtual host."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ

_numbers = itertools.count(1)


@asynccontextmanager
async def fresh_database(server: Postgres, template: str) -> AsyncIterator[str]:
    """The URL of a copy of `template`, dropped afterwards."""
    name = f"test_{next(_numbers)}"
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.url_of(name)
    finally:
        await _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def fresh_vhost(node: RabbitMQ) -> Iterator[str]:
    """The URL of an empty virtual host, deleted with its queues afterwards."""
    name = f"test_{next(_numbers)}"
    node.run_rabbitmqctl("add_vhost", name)
    node.run_rabbitmqctl("set_permissions", "-p", name, "listfleet", ".*", ".*", ".*")
    try:
        yield node.url + name
    finally:
        node.run_rabbitmqctl("delete_vhost", name)


async def _execute(server: Postgres, statement: str) -> None:
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
