"""The private PostgreSQL and RabbitMQ: they survive a crash on the same port, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from deploy.local.child import descendants, has_ended
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from shared.broker.connection import close_quietly, connect


async def _fetch(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_committed_survives_a_crash_of_postgresql(postgres_server: Postgres) -> None:
    await _fetch(postgres_server.url, "CREATE TABLE survives AS SELECT 1 AS one")
    before = descendants(postgres_server.pid)
    url = postgres_server.url

    postgres_server.kill()
    assert all(has_ended(pid) for pid in before)
    assert postgres_server.start() == url

    assert await _fetch(url, "SELECT one FROM survives") == 1
    await _fetch(url, "DROP TABLE survives")


async def test_commits_reach_the_disk(postgres: str) -> None:
    assert await _fetch(postgres, "SHOW fsync") == "on"
    assert await _fetch(postgres, "SHOW synchronous_commit") == "on"


async def test_nobody_enters_postgresql_without_the_password(postgres: str) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres, password="guessed")


async def test_a_module_has_its_own_database_at_the_newest_schema(database_url: str, postgres: str) -> None:
    assert await _fetch(database_url, "SELECT count(*) FROM alembic_version") == 1
    assert await _fetch(database_url, "SELECT current_database()") != await _fetch(
        postgres, "SELECT current_database()"
    )


async def test_a_confirmed_message_survives_a_crash_of_rabbitmq(rabbitmq_server: RabbitMQ, broker_url: str) -> None:
    connection = await connect(broker_url, "test")
    channel = await connection.channel()
    await channel.declare_queue("survives", durable=True, arguments={"x-queue-type": "quorum"})
    persistent = aio_pika.Message(b"here", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(persistent, "survives", timeout=30)
    # RabbitMQ 3.10 forgets a queue that was declared within about a second before the crash.
    await asyncio.sleep(2)
    helpers = descendants(rabbitmq_server.pid)

    rabbitmq_server.kill()
    await close_quietly(connection)
    assert helpers
    assert all(has_ended(pid) for pid in helpers)
    rabbitmq_server.start()

    async with await aio_pika.connect(broker_url) as again:
        queue = await (await again.channel()).get_queue("survives")
        message = await queue.get(timeout=30, no_ack=True)
    assert message is not None
    assert message.body == b"here"


def test_children_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import time; from pathlib import Path; from deploy.local.child import Child;"
        f"child = Child('sleeper', ['sleep', '600'], Path({str(tmp_path / 'log')!r})); child.start();"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        # Only the program itself runs with the death signal set; what becomes it has yet to set it.
        assert _becomes_so(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        os.kill(supervisor.pid, signal.SIGKILL)
        supervisor.wait()
        assert _becomes_so(lambda: has_ended(child))


def _becomes_so(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_so()
