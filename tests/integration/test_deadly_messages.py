"""A message that ends whoever handles it, on a real queue: set aside after five deaths, and nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import pytest

from services.scheduler.tasks.broken_off import CountedTries
from services.scheduler.worker import dispatched, handled_by
from shared.broker.connection import connect, declare_topology
from shared.broker.consumer import Consumer, reader_of
from shared.broker.publisher import Publisher
from shared.contracts.base import Payload
from shared.contracts.events import MailReceived
from shared.contracts.topology import QUEUES, TaskQueue, decode
from shared.core.mailing import TargetKind
from shared.store import handling, messages, parked
from shared.store.engine import Database, RawConnection
from shared.store.messages import NewTarget
from tests.fakes.waiting import until
from tests.integration import stored

QUEUE = TaskQueue.TASKS.value


class Schedulers:
    """One after the other: the next is started when the one before has died of a message."""

    def __init__(self, broker_url: str, database: Database) -> None:
        self._broker_url = broker_url
        self._database = database
        self.deadly: set[str] = set()
        self.deaths = 0
        self.handled: list[str] = []

    async def run(self) -> None:
        while True:
            died = asyncio.Event()
            life = asyncio.create_task(self._consumer(died).run())
            try:
                await died.wait()
                self.deaths += 1
            finally:
                life.cancel()
                await asyncio.wait([life])

    def _consumer(self, died: asyncio.Event) -> Consumer[Payload]:
        async def handle(event: MailReceived) -> None:
            if event.message_id in self.deadly:
                died.set()
            if died.is_set():
                await asyncio.Event().wait()  # nothing of a dead process goes on
            await asyncio.sleep(0.01)
            async with self._database.raw() as connection:
                await handling.mark_handled(connection, UUID(event.message_id))
            self.handled.append(event.message_id)

        work = CountedTries(handled_by(dispatched({MailReceived: handle})), self._database)
        return Consumer(self._broker_url, QUEUE, reader_of(MailReceived), work, name="test", prefetch=2)


@pytest.fixture
async def publisher(broker_url: str) -> AsyncIterator[Publisher]:
    broker = await connect(broker_url, "test")
    channel = await broker.channel()
    await declare_topology(channel)
    for declaration in QUEUES:
        await (await channel.get_queue(declaration.name)).purge()
    await broker.close()
    publisher = Publisher(broker_url, name="test", timeout_seconds=5.0)
    yield publisher
    await publisher.close()


async def test_a_message_that_kills_its_schedulers_is_set_aside_and_the_others_are_handled(
    connection: RawConnection, database_url: str, broker_url: str, publisher: Publisher
) -> None:
    database = Database(database_url, name="test")
    new = [stored.new_message(NewTarget("postmaster@lists.example.org", TargetKind.OPERATOR)) for _ in range(30)]
    for message in new:
        await messages.store(connection, message)
    ids = [str(message.id) for message in new]
    schedulers = Schedulers(broker_url, database)
    schedulers.deadly = {ids[3]}
    running = asyncio.create_task(schedulers.run())
    try:
        await publisher.publish_all(QUEUE, [MailReceived(message_id) for message_id in ids])
        await until(lambda: set(schedulers.handled) == set(ids) - {ids[3]}, within_seconds=60)
        (kept,) = await _parked(connection)
        assert schedulers.deaths == handling.MOST_BROKEN_OFF
        assert (kept.queue, decode(kept.body or b"")) == (QUEUE, MailReceived(ids[3]))
        assert "5 times" in kept.because
        await connection.execute("UPDATE messages SET publish_due_at = publish_due_at - interval '1 hour'")
        assert await handling.publish_due(connection) == [], "the sweep leaves it alone"

        # The cause is gone, and somebody has it handled again.
        schedulers.deadly = set()
        await handling.try_again(connection, new[3].id)
        await publisher.publish(QUEUE, MailReceived(ids[3]))
        await until(lambda: ids[3] in schedulers.handled)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await database.close()


async def test_a_message_that_somebody_handled_meanwhile_is_not_counted(connection: RawConnection) -> None:
    message = stored.new_message(NewTarget("postmaster@lists.example.org", TargetKind.OPERATOR))
    await messages.store(connection, message)
    assert [await handling.count_broken_off(connection, message.id) for _ in range(6)] == [1, 2, 3, 4, 5, 5]
    await handling.mark_handled(connection, message.id)
    assert await handling.count_broken_off(connection, message.id) == 0


async def _parked(connection: RawConnection) -> list[parked.SetAside]:
    async def is_there() -> bool:
        return bool(await parked.page(connection))

    await until(is_there)
    return list(await parked.page(connection))
