"""One connection to RabbitMQ, and the topology declared on it.

Plain connections, not aio-pika's robust ones: each publisher and consumer has a loop of its own that connects,
declares and goes on, so that a lost connection, a deleted queue and a cancelled consumer are one case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.connection import make_url

from shared.contracts.topology import (
    CONTROL_EXCHANGE,
    PARKED_EXCHANGE,
    QUEUES,
    WORK_EXCHANGE,
)

CONNECT_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 1.0
#: RabbitMQ takes back what it handed to a process that gave no sign for about twice as long. With its own 60 s, the
#: batches on their way to a node that froze would wait for two minutes.
HEARTBEAT_SECONDS = 5

_FAULTS = (aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError, asyncio.CancelledError)


class BrokerUnavailable(Exception):
    """RabbitMQ did not take what was to be published; whoever has it in a row publishes it again."""


@contextmanager
def broker_faults() -> Iterator[None]:
    """Within it, whatever is raised because the broker is lost becomes `BrokerUnavailable`.

    Cancellations are what was asked of the current task, no more and no less: the library hands on those of its own
    tasks, which it cancels when a connection is lost, to the calls under way; and it loses some that come during one.
    """
    task = asyncio.current_task()
    cancellations = task.cancelling() if task else 0

    def is_cancelled() -> bool:
        return task is not None and task.cancelling() > cancellations

    try:
        yield
    except (Exception, asyncio.CancelledError) as error:
        # A connection that the library closes for no reason it knows ends the calls under way with a bare `Exception`.
        if type(error) is not Exception and not isinstance(error, _FAULTS):
            raise
        if is_cancelled():
            raise asyncio.CancelledError from error
        raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error
    if is_cancelled():
        raise asyncio.CancelledError


async def connect(url: str, name: str) -> AbstractConnection:
    """A new connection, shown as `name` in RabbitMQ's management; raises what aio-pika and the system raise."""
    connection = aio_pika.Connection(
        make_url(url, heartbeat=HEARTBEAT_SECONDS), client_properties={"connection_name": name}
    )
    try:
        await connection.connect(timeout=CONNECT_TIMEOUT_SECONDS)
    except BaseException:
        # The library would have it closed whenever it is collected, by a task of whatever loop there is then.
        await connection.close()
        raise
    return connection


async def declare_topology(channel: AbstractChannel) -> None:
    """Declare every exchange and queue; harmless when they exist."""
    work = await channel.declare_exchange(WORK_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
    parked = await channel.declare_exchange(PARKED_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
    await channel.declare_exchange(CONTROL_EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=True)
    exchanges = {WORK_EXCHANGE: work, PARKED_EXCHANGE: parked}
    for declaration in QUEUES:
        queue = await channel.declare_queue(declaration.name, durable=True, arguments=declaration.arguments)
        await queue.bind(exchanges[declaration.exchange], routing_key=declaration.name)


async def close_quietly(connection: AbstractConnection) -> None:
    """Close a connection that may be lost already; then there is nothing left to close."""
    try:
        with suppress(BrokerUnavailable), broker_faults():
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await connection.close()
    finally:
        # One that did not close in time is without its transport now, and this marks it as closed. The library would
        # do it when it is collected, by a task of whatever loop there is then.
        await connection.close()
