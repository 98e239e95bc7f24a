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


class VirtualHosts:
    """Empty virtual hosts of one node, made and deleted several at once: each call of rabbitmqctl starts an Erlang."""

    def __init__(self, node: RabbitMQ, *, at_once: int = 10) -> None:
        self._node = node
        self._at_once = at_once
        self._fresh: list[str] = []
        self._used: list[str] = []

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of an empty virtual host, which is deleted, with its queues, some time afterwards."""
        if not self._fresh:
            self._fresh = [f"test_{next(_numbers)}" for _ in range(self._at_once)]
            self._node.run_rabbitmqctl("eval", self._delete_and_add())
            self._used = []
        name = self._fresh.pop(0)
        try:
            yield self._node.url + name
        finally:
            self._used.append(name)

    def _delete_and_add(self) -> str:
        rights = ", ".join(['<<".*">>'] * 3)
        return (
            f'[rabbit_vhost:delete(Name, <<"tests">>) || Name <- {_binaries(self._used)}],'
            f'[begin rabbit_vhost:add(Name, <<"tests">>), rabbit_auth_backend_internal:set_permissions('
            f'<<"listfleet">>, Name, {rights}, <<"tests">>) end || Name <- {_binaries(self._fresh)}].'
        )


def _binaries(names: list[str]) -> str:
    return "[" + ", ".join(f'<<"{name}">>' for name in names) + "]"


async def _execute(server: Postgres, statement: str) -> None:
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
