"""One connection to RabbitMQ, and the topology declared on it.

Plain connections, not aio-pika's robust ones: each publisher and consumer has a loop of its own that connects,
declares and goes on, so that a lost connection, a deleted queue and a cancelled consumer are one case.
"""

from __future__ import annotations

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection

from shared.contracts.topology import (
    CONTROL_EXCHANGE,
    PARKED_EXCHANGE,
    QUEUES,
    WORK_EXCHANGE,
)

CONNECT_TIMEOUT_SECONDS = 10.0
#: RabbitMQ takes back what it handed to a process that gave no sign for about twice as long. With its own 60 s, the
#: batches on their way to a node that froze would wait for two minutes.
HEARTBEAT_SECONDS = 5


class BrokerUnavailable(Exception):
    """RabbitMQ did not take what was to be published; whoever has it in a row publishes it again."""


async def connect(url: str, name: str) -> AbstractConnection:
    """A new connection, shown as `name` in RabbitMQ's management; raises what aio-pika and the system raise."""
    return await aio_pika.connect(
        url,
        timeout=CONNECT_TIMEOUT_SECONDS,
        heartbeat=HEARTBEAT_SECONDS,
        client_properties={"connection_name": name},
    )


async def declare_topology(channel: AbstractChannel) -> None:
    """Declare every exchange and queue; harmless when they exist."""
    work = await channel.declare_exchange(WORK_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
    parked = await channel.declare_exchange(PARKED_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
    await channel.declare_exchange(CONTROL_EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=True)
    exchanges = {WORK_EXCHANGE: work, PARKED_EXCHANGE: parked}
    for declaration in QUEUES:
        queue = await channel.declare_queue(declaration.name, durable=True, arguments=declaration.arguments)
        await queue.bind(exchanges[declaration.exchange], routing_key=declaration.name)
