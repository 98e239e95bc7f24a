"""Publishing and consuming at a real RabbitMQ, which is killed, restarted and emptied of its queues meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from deploy.local.rabbitmq import RabbitMQ
from shared.broker.connection import BrokerUnavailable, connect, declare_topology
from shared.broker.consumer import Consumer, ControlListener, DeadPayload, Received, read_dead, reader_of
from shared.broker.publisher import Publisher
from shared.contracts.base import Payload
from shared.contracts.commands import ExpandMailing, SendBatch
from shared.contracts.events import NodeSettingsChanged
from shared.contracts.topology import CONTROL_EXCHANGE, PARKED_QUEUE, QUEUES, WORK_EXCHANGE, Lane
from tests.fakes.waiting import until

QUEUE = Lane.POSTS.queue


@asynccontextmanager
async def open_channel(url: str) -> AsyncIterator[AbstractChannel]:
    connection = await connect(url, "test")
    try:
        yield await connection.channel()
    finally:
        await connection.close()


@pytest.fixture
async def publisher(broker_url: str) -> AsyncIterator[Publisher]:
    """A publisher at empty queues."""
    async with open_channel(broker_url) as channel:
        await declare_topology(channel)
        for declaration in QUEUES:
            await (await channel.get_queue(declaration.name)).purge()
    publisher = Publisher(broker_url, name="test", timeout_seconds=2.0)
    yield publisher
    await publisher.close()


class Inbox:
    """Acknowledges what it gets, unless it is told to keep it."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        self.received: list[Received[SendBatch]] = []
        self._acknowledges = acknowledges
        self._news = asyncio.Condition()

    async def __call__(self, received: Received[SendBatch]) -> None:
        if self._acknowledges:
            await received.acknowledge()
        async with self._news:
            self.received.append(received)
            self._news.notify_all()

    @property
    def ids(self) -> list[int]:
        return [received.payload.batch_id for received in self.received]

    async def has(self, *batch_ids: int, within_seconds: float = 30) -> None:
        async with asyncio.timeout(within_seconds), self._news:
            await self._news.wait_for(lambda: set(batch_ids) <= set(self.ids))


@asynccontextmanager
async def running(*loops: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(loop()) for loop in loops]
    try:
        yield
        assert not any(task.done() for task in tasks), "a loop ended by itself"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def consumer_of(url: str, inbox: Inbox, *, prefetch: int = 10) -> Consumer[SendBatch]:
    return Consumer(url, QUEUE, reader_of(SendBatch), inbox, name="test", prefetch=prefetch)


async def publish_when_possible(publisher: Publisher, payload: Payload, queue: str = QUEUE) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                return await publisher.publish(queue, payload)
            except BrokerUnavailable:
                await asyncio.sleep(0.1)


async def has_no_consumer(channel: AbstractChannel) -> bool:
    return not (await channel.declare_queue(QUEUE, passive=True)).declaration_result.consumer_count


async def publish_raw(url: str, body: bytes) -> None:
    async with open_channel(url) as channel:
        exchange = await channel.get_exchange(WORK_EXCHANGE)
        await exchange.publish(aio_pika.Message(body), QUEUE)


async def test_publisher_and_consumer_survive_the_brokers_death(
    publisher: Publisher, broker_url: str, rabbitmq_server: RabbitMQ
) -> None:
    # RabbitMQ writes its directory of quorum queues twice a second: one that is younger may not survive a kill.
    await asyncio.sleep(1)
    inbox, heard = Inbox(), list[Payload]()
    consumer = consumer_of(broker_url, inbox)
    control = ControlListener(broker_url, heard.append, name="test")
    async with running(consumer.run, control.run):
        await publisher.publish(QUEUE, SendBatch(1))
        await inbox.has(1)
        under_way = asyncio.gather(
            *(publisher.publish(QUEUE, SendBatch(n)) for n in range(100, 400)), return_exceptions=True
        )
        await asyncio.sleep(0)
        await asyncio.to_thread(rabbitmq_server.kill)
        try:
            results = await under_way
            assert {type(result) for result in results} <= {type(None), BrokerUnavailable}
            began_seconds = asyncio.get_running_loop().time()
            with pytest.raises(BrokerUnavailable):
                await publisher.publish(QUEUE, SendBatch(2))
            assert asyncio.get_running_loop().time() - began_seconds < 8
            await until(lambda: not consumer.is_connected)
        finally:
            await asyncio.to_thread(rabbitmq_server.start)
        await publish_when_possible(publisher, SendBatch(3))
        await inbox.has(3)
        confirmed = [n for n, result in zip(range(100, 400), results, strict=True) if result is None]
        await inbox.has(*confirmed)
        while not heard:
            await publisher.broadcast(NodeSettingsChanged("outbound-1"))
            await asyncio.sleep(0.05)
    assert heard[0] == NodeSettingsChanged("outbound-1")


async def test_every_queue_is_a_quorum_queue_that_dead_letters_at_least_once(
    publisher: Publisher, broker_url: str, rabbitmq_server: RabbitMQ
) -> None:
    listing = await asyncio.to_thread(
        rabbitmq_server.run_rabbitmqctl,
        *("list_queues", "-p", broker_url.rpartition("/")[2], "--no-table-headers", "name", "type", "arguments"),
    )
    found = {line.split("\t")[0]: line for line in listing.splitlines() if line}
    assert set(found) == {declaration.name for declaration in QUEUES}
    for name, line in found.items():
        assert "quorum" in line and '"x-delivery-limit"' in line
        assert name == PARKED_QUEUE or ("at-least-once" in line and "reject-publish" in line)


async def test_a_confirmed_payload_is_in_the_queue(publisher: Publisher) -> None:
    await publisher.publish_all(QUEUE, [SendBatch(n) for n in range(150)])
    assert await publisher.queue_length(QUEUE) == 150


async def test_what_no_queue_takes_is_an_error_and_the_publisher_lives(publisher: Publisher) -> None:
    with pytest.raises(BrokerUnavailable):
        await publisher.publish("no such queue", SendBatch(1))
    await publisher.publish(QUEUE, SendBatch(2))
    assert await publisher.queue_length(QUEUE) == 1


async def test_a_group_whose_queue_was_deleted_fails_as_a_whole_and_the_next_one_goes_through(
    publisher: Publisher, broker_url: str
) -> None:
    await publisher.publish(QUEUE, SendBatch(1))
    async with open_channel(broker_url) as channel:
        await channel.queue_delete(QUEUE)
    with pytest.raises(BrokerUnavailable):
        await publisher.publish_all(QUEUE, [SendBatch(n) for n in range(100)])
    await publisher.publish_all(QUEUE, [SendBatch(n) for n in range(100)])
    assert await publisher.queue_length(QUEUE) == 100


async def test_the_length_of_a_deleted_queue_is_an_error_once(publisher: Publisher, broker_url: str) -> None:
    await publisher.publish(QUEUE, SendBatch(1))
    async with open_channel(broker_url) as channel:
        await channel.queue_delete(QUEUE)
    with pytest.raises(BrokerUnavailable):
        await publisher.queue_length(QUEUE)
    assert await publisher.queue_length(QUEUE) == 0


async def test_a_publish_to_a_frozen_broker_ends_within_its_timeout(
    publisher: Publisher, rabbitmq_server: RabbitMQ
) -> None:
    await publisher.publish(QUEUE, SendBatch(1))
    rabbitmq_server._node.freeze()
    try:
        began_seconds = asyncio.get_running_loop().time()
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(QUEUE, SendBatch(2))
        assert asyncio.get_running_loop().time() - began_seconds < 8
    finally:
        rabbitmq_server._node.thaw()
    await publish_when_possible(publisher, SendBatch(3))


_FREEZES = """
import asyncio, os, signal, sys
from shared.broker.consumer import Consumer, reader_of
from shared.contracts.commands import SendBatch

async def freeze(_received):
    os.kill(os.getpid(), signal.SIGSTOP)

asyncio.run(Consumer(sys.argv[1], "send.posts", reader_of(SendBatch), freeze, name="frozen", prefetch=5).run())
"""


async def test_what_was_handed_to_a_process_that_froze_is_handed_to_another(
    publisher: Publisher, broker_url: str
) -> None:
    frozen = await asyncio.create_subprocess_exec(sys.executable, "-c", _FREEZES, broker_url)
    try:
        await publisher.publish_all(QUEUE, [SendBatch(n) for n in range(3)])

        async def all_are_taken() -> bool:
            return await publisher.queue_length(QUEUE) == 0

        await until(all_are_taken)
        inbox = Inbox()
        async with running(consumer_of(broker_url, inbox).run):
            await inbox.has(0, 1, 2, within_seconds=40)  # with RabbitMQ's own heartbeat it takes two minutes
    finally:
        frozen.kill()
        await frozen.wait()


async def test_a_consumer_whose_queue_was_deleted_consumes_the_next_one(publisher: Publisher, broker_url: str) -> None:
    inbox = Inbox()
    async with running(consumer_of(broker_url, inbox).run):
        await publisher.publish(QUEUE, SendBatch(1))
        await inbox.has(1)
        async with open_channel(broker_url) as channel:
            await channel.queue_delete(QUEUE)
        await publish_when_possible(publisher, SendBatch(2))
        await inbox.has(2)


async def test_a_paused_consumer_whose_queue_was_deleted_consumes_the_next_one(
    publisher: Publisher, broker_url: str
) -> None:
    inbox = Inbox()
    consumer = consumer_of(broker_url, inbox)
    async with running(consumer.run):
        await publisher.publish(QUEUE, SendBatch(1))
        await inbox.has(1)
        consumer.pause()
        async with open_channel(broker_url) as channel:
            await until(partial(has_no_consumer, channel))
            await channel.queue_delete(QUEUE)
        consumer.resume()
        await publish_when_possible(publisher, SendBatch(2))
        await inbox.has(2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"type":"SendBatch/2","batch_id":1}',
        b'{"type":"SendBatch/1","batch_id":"seven"}',
        b'{"type":"SendBatch/1","batch_id":1,"node":"outbound-1"}',
        b'{"type":"ExpandMailing/1","mailing_id":1}',
        b"[" * 100_000,
    ],
)
async def test_what_cannot_be_read_is_parked_whole_and_the_consumer_lives(
    publisher: Publisher, broker_url: str, body: bytes
) -> None:
    inbox, parked = Inbox(), list[DeadPayload]()

    async def park(received: Received[DeadPayload]) -> None:
        await received.acknowledge()
        parked.append(received.payload)

    parking = Consumer(broker_url, PARKED_QUEUE, read_dead, park, name="test")
    async with running(consumer_of(broker_url, inbox).run, parking.run):
        await publish_raw(broker_url, body)
        await publisher.publish(QUEUE, SendBatch(7))
        await inbox.has(7)
        await until(lambda: bool(parked))
    assert [(dead.queue, dead.body) for dead in parked] == [(QUEUE, body)]
    assert parked[0].because
    assert inbox.ids == [7]


async def test_a_payload_whose_handler_raises_is_parked_and_the_consumer_lives(
    publisher: Publisher, broker_url: str
) -> None:
    handled = list[int]()

    async def handle(received: Received[SendBatch]) -> None:
        if received.payload.batch_id == 13:
            raise ZeroDivisionError("a bug")
        handled.append(received.payload.batch_id)
        await received.acknowledge()

    consumer = Consumer(broker_url, QUEUE, reader_of(SendBatch), handle, name="test", prefetch=1)
    async with running(consumer.run):
        await publisher.publish_all(QUEUE, [SendBatch(12), SendBatch(13), SendBatch(14)])
        await until(lambda: handled == [12, 14])

        async def is_parked() -> bool:
            return await publisher.queue_length(PARKED_QUEUE) == 1

        await until(is_parked)


async def test_a_payload_that_cannot_be_parked_is_put_back_and_not_lost(publisher: Publisher, broker_url: str) -> None:
    tries = list[DeadPayload]()

    async def park(received: Received[DeadPayload]) -> None:
        tries.append(received.payload)
        if len(tries) < 3:
            raise ZeroDivisionError("a bug")
        await received.acknowledge()

    parking = Consumer(broker_url, PARKED_QUEUE, read_dead, park, name="test", put_back_after_seconds=0.01)
    async with running(consumer_of(broker_url, Inbox()).run, parking.run):
        await publish_raw(broker_url, b"nothing that is known")
        await until(lambda: len(tries) == 3)
    assert {dead.body for dead in tries} == {b"nothing that is known"}


async def test_the_prefetch_changes_while_consuming(publisher: Publisher, broker_url: str) -> None:
    inbox = Inbox(acknowledges=False)
    consumer = consumer_of(broker_url, inbox, prefetch=2)
    async with running(consumer.run):
        await publisher.publish_all(QUEUE, [SendBatch(n) for n in range(10)])
        await inbox.has(0, 1)
        assert await publisher.queue_length(QUEUE) == 8
        assert inbox.ids == [0, 1]
        consumer.set_prefetch(5)
        await until(lambda: len(inbox.ids) >= 7)
        # Those two that the first consumer has still count for nobody but themselves.
        await inbox.received[0].acknowledge()
        assert len(set(inbox.ids)) == len(inbox.ids) <= 7


async def test_a_paused_consumer_takes_nothing_and_goes_on_when_it_is_resumed(
    publisher: Publisher, broker_url: str
) -> None:
    inbox = Inbox()
    consumer = consumer_of(broker_url, inbox)
    async with running(consumer.run):
        await publisher.publish(QUEUE, SendBatch(1))
        await inbox.has(1)
        consumer.pause()
        async with open_channel(broker_url) as channel:
            await until(partial(has_no_consumer, channel))
        await publisher.publish(QUEUE, SendBatch(2))
        assert await publisher.queue_length(QUEUE) == 1
        for _ in range(5):
            consumer.resume()
            consumer.pause()
        consumer.resume()
        await inbox.has(2)
    assert inbox.ids == [1, 2]


async def test_a_broadcast_is_heard_by_every_listener(publisher: Publisher, broker_url: str) -> None:
    heard: tuple[list[Payload], list[Payload]] = ([], [])
    listeners = [ControlListener(broker_url, ears.append, name="test") for ears in heard]
    async with running(*(listener.run for listener in listeners)):
        while not all(heard):
            await publisher.broadcast(NodeSettingsChanged(None))
            await asyncio.sleep(0.02)
        async with open_channel(broker_url) as channel:
            exchange = await channel.get_exchange(CONTROL_EXCHANGE)
            await exchange.publish(aio_pika.Message(b"nonsense"), "")
        await publisher.broadcast(NodeSettingsChanged("last"))
        await until(lambda: all(ears[-1] == NodeSettingsChanged("last") for ears in heard))


async def test_nobody_listening_to_control_is_no_error(publisher: Publisher) -> None:
    await publisher.broadcast(NodeSettingsChanged("outbound-1"))


async def test_a_second_acknowledgement_is_harmless(publisher: Publisher, broker_url: str) -> None:
    inbox = Inbox()
    async with running(consumer_of(broker_url, inbox).run):
        await publisher.publish(QUEUE, SendBatch(1))
        await inbox.has(1)
        await inbox.received[0].acknowledge()
        await publisher.publish(QUEUE, SendBatch(2))
        await inbox.has(2)
    assert inbox.ids == [1, 2]


async def test_a_command_of_another_kind_is_not_for_this_queue() -> None:
    class Message:
        body = b'{"type":"ExpandMailing/1","mailing_id":5}'

    assert reader_of(ExpandMailing)(Message()) == ExpandMailing(5)  # type: ignore[arg-type]
