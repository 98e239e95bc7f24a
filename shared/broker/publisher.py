"""Publishing with confirms, a timeout, and an error when nothing took the message."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

from shared.broker.connection import BrokerUnavailable, broker_faults, close_quietly, connect, declare_topology
from shared.contracts.base import Payload
from shared.contracts.topology import CONTROL_EXCHANGE, WORK_EXCHANGE, encode

#: How many confirms are awaited at once.
PIPELINE_DEPTH = 64


class Publisher:
    """The one publishing connection of a process; it connects on first use, and anew after any failure."""

    def __init__(self, url: str, *, name: str, timeout_seconds: float = 5.0) -> None:
        self._url = url
        self._name = f"{name} publisher"
        self._timeout_seconds = timeout_seconds
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._work: AbstractExchange | None = None
        self._control: AbstractExchange | None = None
        self._connecting = asyncio.Lock()

    async def publish(self, queue: str, payload: Payload) -> None:
        """Return once RabbitMQ confirmed that `payload` is in `queue`; `BrokerUnavailable` otherwise.

        After the error nobody knows whether it was taken: consumers accept a payload twice.
        """
        await self._publish(queue, payload, is_control=False)

    async def publish_all(self, queue: str, payloads: Iterable[Payload]) -> None:
        """Like `publish`, with the confirms awaited together."""
        remaining = list(payloads)
        while remaining:
            head, remaining = remaining[:PIPELINE_DEPTH], remaining[PIPELINE_DEPTH:]
            results = await asyncio.gather(*(self.publish(queue, payload) for payload in head), return_exceptions=True)
            for result in results:
                if result is not None:
                    raise result

    async def broadcast(self, payload: Payload) -> None:
        """Tell every process on `control`; whoever is not listening now reads the rows later."""
        await self._publish("", payload, is_control=True)

    async def queue_length(self, queue: str) -> int:
        """How many payloads wait in `queue`, those in consumers' hands not counted; `BrokerUnavailable`."""
        used: AbstractConnection | None = None
        try:
            with broker_faults():
                async with asyncio.timeout(self._timeout_seconds):
                    await self._ready()
                    used = self._connection
                    assert self._channel is not None  # noqa: S101 - what `_ready` is for
                    declared = await self._channel.declare_queue(queue, passive=True)
                    return declared.declaration_result.message_count or 0
        except BrokerUnavailable:
            await self._give_up(used)
            raise

    async def _publish(self, routing_key: str, payload: Payload, *, is_control: bool) -> None:
        message = aio_pika.Message(
            encode(payload),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT if is_control else aio_pika.DeliveryMode.PERSISTENT,
        )
        used: AbstractConnection | None = None
        try:
            with broker_faults():
                async with asyncio.timeout(self._timeout_seconds):
                    work, control = await self._ready()
                    used = self._connection
                    exchange = control if is_control else work
                    # Not mandatory for control: that nobody listens is no fault.
                    await exchange.publish(message, routing_key, mandatory=not is_control)
        except BrokerUnavailable:
            await self._give_up(used)
            raise

    async def _ready(self) -> tuple[AbstractExchange, AbstractExchange]:
        async with self._connecting:
            if self._work is not None and self._control is not None and self._is_open():
                return self._work, self._control
            await self.close()
            self._connection = await connect(self._url, self._name)
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            await declare_topology(channel)
            self._channel = channel
            self._work = await channel.get_exchange(WORK_EXCHANGE, ensure=False)
            self._control = await channel.get_exchange(CONTROL_EXCHANGE, ensure=False)
            return self._work, self._control

    def _is_open(self) -> bool:
        return (
            self._connection is not None
            and not self._connection.is_closed
            and self._channel is not None
            and not self._channel.is_closed
        )

    async def _give_up(self, connection: AbstractConnection | None) -> None:
        """Close the connection that failed, unless somebody did before and others use the next one already."""
        if connection is self._connection:
            await self.close()

    async def close(self) -> None:
        """Close the connection; the next publish opens a new one."""
        connection, self._connection = self._connection, None
        self._channel = self._work = self._control = None
        if connection is not None and not connection.is_closed:
            await close_quietly(connection)
