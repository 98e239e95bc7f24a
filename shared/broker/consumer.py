"""Consuming one queue for as long as the process lives, whatever happens to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from shared.broker.connection import BrokerUnavailable, broker_faults, close_quietly, connect, declare_topology
from shared.contracts.base import Payload, UnreadablePayload
from shared.contracts.topology import CONTROL_EXCHANGE, decode

_log = structlog.get_logger(__name__)
_RECONNECT_SECONDS = 0.5
_LOOK_SECONDS = 5.0
_SETUP_SECONDS = 30.0

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class DeadPayload:
    """A body that nobody could handle, the queue it came through, and why it was set aside."""

    queue: str
    because: str
    body: bytes


#: Makes what a handler gets of the broker's message; raises `UnreadablePayload`.
Reader = Callable[[AbstractIncomingMessage], P]


def reader_of(*payload_types: type[P]) -> Reader[P]:
    """Reads payloads of these types; any other is unreadable here."""

    def read(message: AbstractIncomingMessage) -> P:
        payload = decode(message.body)
        if not isinstance(payload, payload_types):
            raise UnreadablePayload(f"{type(payload).__name__} does not belong here")
        return payload

    return read


def read_dead(message: AbstractIncomingMessage) -> DeadPayload:
    """Reads whatever was dead-lettered."""
    deaths = message.headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    latest: Mapping[str, Any] = first if isinstance(first, Mapping) else {}
    try:
        because = f"{latest.get('reason', 'dead-lettered')} with {decode(message.body)!r}"
    except UnreadablePayload as error:
        because = f"unreadable: {error}"
    return DeadPayload(str(latest.get("queue", "")), because, message.body)


@dataclass(frozen=True, slots=True)
class Received(Generic[P]):
    """A payload, and the broker's message that it came in. It counts against the prefetch until it is acknowledged."""

    payload: P
    message: AbstractIncomingMessage

    @property
    def queue(self) -> str:
        """Where it was published to."""
        return self.message.routing_key or ""

    @property
    def is_redelivered(self) -> bool:
        """Somebody had it before and never acknowledged it: it died, lost the broker, or put it back."""
        return bool(self.message.redelivered)

    async def acknowledge(self) -> None:
        """Done. Harmless when the connection is gone: the broker gives the message to somebody, who finds it done."""
        try:
            with broker_faults():
                await self.message.ack()
        except BrokerUnavailable:
            _log.info("acknowledgement lost", payload=repr(self.payload))


Handler = Callable[[Received[P]], Awaitable[None]]


class Consumer(Generic[P]):
    """Takes payloads from one queue, at most `prefetch` unacknowledged, while `is_wanted` is set.

    The handler acknowledges. A payload that cannot be read, or whose handler raises, is rejected to `parked`; or, where
    there is nowhere to park it, put back after `put_back_after_seconds`.
    """

    def __init__(
        self,
        url: str,
        queue: str,
        read: Reader[P],
        handler: Handler[P],
        *,
        name: str,
        prefetch: int = 1,
        put_back_after_seconds: float | None = None,
    ) -> None:
        self._url = url
        self._queue_name = queue
        self._read = read
        self._handler = handler
        self._name = f"{name} {queue}"
        self._prefetch = prefetch
        self._put_back_after_seconds = put_back_after_seconds
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._changed = asyncio.Event()
        self._cancelled_by_broker = False
        self._handling: set[asyncio.Task[None]] = set()
        self.is_connected = False

    def pause(self) -> None:
        """Take nothing more; what was taken stays taken."""
        self._wanted.clear()
        self._changed.set()

    def resume(self) -> None:
        self._wanted.set()
        self._changed.set()

    def set_prefetch(self, prefetch: int) -> None:
        """At most this many unacknowledged from now on."""
        if prefetch != self._prefetch:
            self._prefetch = prefetch
            self._changed.set()

    async def run(self) -> None:
        """Consume until cancelled; a lost connection, a deleted queue or a cancelled consumer only starts it anew."""
        while True:
            try:
                with broker_faults():
                    await self._consume_on_one_connection()
            except BrokerUnavailable as error:
                _log.warning("broker lost", queue=self._queue_name, error=str(error))
            finally:
                self.is_connected = False
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _consume_on_one_connection(self) -> None:
        connection = await connect(self._url, self._name)
        try:
            with broker_faults():
                async with asyncio.timeout(_SETUP_SECONDS):
                    channel = await connection.channel()
                    await declare_topology(channel)
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(self._on_cancelled_by_broker)
            channel.close_callbacks.add(self._on_closed)
            self._cancelled_by_broker = False
            self.is_connected = True
            queue = await channel.get_queue(self._queue_name, ensure=False)
            await self._follow_wishes(channel, queue)
        finally:
            await close_quietly(connection)

    async def _follow_wishes(self, channel: AbstractChannel, queue: AbstractQueue) -> None:
        tag: str | None = None
        prefetch = 0
        while not channel.is_closed and not self._cancelled_by_broker:
            with broker_faults():
                self._changed.clear()
                if prefetch != self._prefetch or not self._wanted.is_set():
                    if tag is not None:
                        await queue.cancel(tag, timeout=_LOOK_SECONDS)
                    tag = None
                if tag is None and self._wanted.is_set():
                    prefetch = self._prefetch
                    await channel.set_qos(prefetch_count=prefetch, timeout=_LOOK_SECONDS)
                    tag = await queue.consume(self._on_message, timeout=_LOOK_SECONDS)
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    # A queue deleted while nothing is consumed sends no word: look, and start anew when it is gone.
                    await channel.declare_queue(self._queue_name, passive=True, timeout=_LOOK_SECONDS)

    def _on_cancelled_by_broker(self, _frame: object) -> None:
        self._cancelled_by_broker = True
        self._changed.set()

    def _on_closed(self, *_: object) -> None:
        self._changed.set()

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        # A task of our own: aio-pika cancels its callbacks when the connection is lost, in the middle of a transaction.
        task = asyncio.get_running_loop().create_task(self._handle(message))
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        try:
            await self._handler(Received(self._read(message), message))
        except Exception as error:  # noqa: BLE001 - whatever it is, the payload is parked whole and the consumer lives
            _log.error(
                "payload not handled", queue=self._queue_name, error=f"{type(error).__name__}: {error}", exc_info=True
            )
            await self._set_aside(message)

    async def _set_aside(self, message: AbstractIncomingMessage) -> None:
        try:
            if self._put_back_after_seconds is not None:
                await asyncio.sleep(self._put_back_after_seconds)
            with broker_faults():
                await message.reject(requeue=self._put_back_after_seconds is not None)
        except BrokerUnavailable:
            _log.info("rejection lost; the broker hands the payload out again")

    async def settle(self) -> None:
        """Return when no handler is at work any more."""
        while self._handling:
            await asyncio.wait(self._handling)


class ControlListener:
    """Hears what is broadcast on `control`, from now on; what was missed is in the rows."""

    def __init__(self, url: str, handler: Callable[[Payload], None], *, name: str) -> None:
        self._url = url
        self._handler = handler
        self._name = f"{name} control"

    async def run(self) -> None:
        """Listen until cancelled, connecting anew as often as needed."""
        while True:
            try:
                with broker_faults():
                    await self._listen_on_one_connection()
            except BrokerUnavailable as error:
                _log.warning("broker lost", queue="control", error=str(error))
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen_on_one_connection(self) -> None:
        connection = await connect(self._url, self._name)
        try:
            gone = asyncio.Event()
            with broker_faults():
                async with asyncio.timeout(_SETUP_SECONDS):
                    channel = await connection.channel()
                    await declare_topology(channel)
                    queue = await channel.declare_queue(exclusive=True, auto_delete=True)
                    await queue.bind(CONTROL_EXCHANGE)
                    underlay = await channel.get_underlay_channel()
                    underlay.on_consumer_cancel_callbacks.add(lambda _frame: gone.set())
                    channel.close_callbacks.add(lambda *_: gone.set())
                    await queue.consume(self._on_message, no_ack=True)
            await gone.wait()
        finally:
            await close_quietly(connection)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        try:
            self._handler(decode(message.body))
        except UnreadablePayload as error:
            _log.warning("control payload ignored", error=str(error))
