"""A publisher that keeps what it is given, in the place of a broker."""

from __future__ import annotations

from collections.abc import Iterable

from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.base import Payload


class KeptPublisher(Publisher):
    """Connects to nothing."""

    def __init__(self) -> None:
        super().__init__("amqp://nobody", name="kept")
        self.published: list[tuple[str, Payload]] = []
        self.broadcasts: list[Payload] = []
        self.is_away = False

    async def publish(self, queue: str, payload: Payload) -> None:
        if self.is_away:
            raise BrokerUnavailable("away")
        self.published.append((queue, payload))

    async def publish_all(self, queue: str, payloads: Iterable[Payload]) -> None:
        self.published += [(queue, payload) for payload in payloads]

    async def broadcast(self, payload: Payload) -> None:
        self.broadcasts.append(payload)
