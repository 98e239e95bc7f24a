"""What a node obeys, and what it says of itself: which limit its recipients wait for, and how many do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from unittest.mock import Mock
from uuid import UUID

import pytest

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.connecting import Connections
from services.outbound_sender.copies import WireContent
from services.outbound_sender.held_batch import HeldBatch, Job
from services.outbound_sender.limits import Limiter
from services.outbound_sender.node import OutboundNode
from services.outbound_sender.pipeline import Pipeline
from services.outbound_sender.slots import Slots
from services.outbound_sender.stop_list import StopList
from services.outbound_sender.taking import Taker
from shared.broker.consumer import Consumer
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.limits import Limit
from shared.runtime.lease import LeaseKeeper
from shared.store.claims import ClaimedBatch, Recipient
from shared.store.nodes import Configuration
from shared.store.stops import Stops

RECIPIENTS = 5


class Rooms:
    """A node that obeys settings, whose lease is fresh and whose other rooms are as a test sets them."""

    def __init__(
        self,
        settings: Mapping[str, object] = {},
        *,
        has_one_host: bool = False,
        has_free_slots: bool = False,
    ) -> None:
        self.backlog = Backlog(lambda address: address.ascii_domain)
        self.limiter = Limiter(has_one_host=has_one_host)
        self.node = node = OutboundNode(self.backlog, self.limiter, StopList())
        node.keeper = Mock(spec=LeaseKeeper, is_fresh=True)
        node.taker = Mock(spec=Taker, unstarted=RECIPIENTS)
        node.pipeline = Mock(spec=Pipeline, mean_transaction_seconds=0.1)
        node.connections = Mock(spec=Connections, open=3)
        node.slots = Mock(spec=Slots, has_free_slots=has_free_slots)
        node.consumers = self.consumers = {lane.queue: Mock(spec=Consumer) for lane in Lane}
        node.on_configuration(
            Configuration("{}", json.dumps(dict(settings)), is_draining=False, tls_policies={}, stops=Stops())
        )

    def add(self, count: int) -> None:
        """So many recipients wait for a connection slot."""
        recipients = tuple(Recipient(number, 1, 1, f"m{number}@x.test") for number in range(count))
        batch = ClaimedBatch(1, UUID(int=1), 77, datetime.now(UTC), Lane.POSTS, recipients, 0)
        held = HeldBatch(batch, cast("WireContent", None), 0.0, on_all_started=lambda: None)
        self.backlog.add([Job(held, recipient, Address.parse(recipient.address)) for recipient in recipients])

    @property
    def held_back(self) -> dict[Limit, int]:
        return {held.limit: held.recipients for held in self.node.vitals().held_back}


@asynccontextmanager
async def asking(limiter: Limiter) -> AsyncIterator[None]:
    """A connection slot waits for its turn."""
    turn = asyncio.create_task(limiter.turn(1000, lambda: True))
    await asyncio.sleep(0)
    yield
    turn.cancel()
    await asyncio.wait([turn])


@pytest.mark.parametrize(
    ("settings", "because"),
    [
        ({"max_messages_per_second": 1}, Limit.MAX_MESSAGES_PER_SECOND),
        ({"max_messages_per_hour": 3600}, Limit.MAX_MESSAGES_PER_HOUR),
        ({"max_messages_per_second": 1, "max_messages_per_hour": 36}, Limit.MAX_MESSAGES_PER_HOUR),
    ],
)
async def test_who_waits_for_rates_waits_for_the_one_that_takes_longest(
    settings: dict[str, Any], because: Limit
) -> None:
    rooms = Rooms(settings)
    async with asking(rooms.limiter):
        assert rooms.held_back == {because: RECIPIENTS}


async def test_megabits_are_waited_for_when_a_second_of_content_is_ahead() -> None:
    rooms = Rooms({"max_megabits_per_second": 0.08})
    assert await rooms.limiter.turn(1_000_000, lambda: True), "one is let through"
    async with asking(rooms.limiter):
        assert rooms.held_back == {Limit.MAX_MEGABITS_PER_SECOND: RECIPIENTS}


@pytest.mark.parametrize(
    ("settings", "has_one_host", "because"),
    [
        ({}, False, Limit.MAX_CONNECTIONS),
        ({"max_connections_per_host": 3}, True, Limit.MAX_CONNECTIONS_PER_HOST),
        ({"max_connections_per_host": 3}, False, Limit.MAX_CONNECTIONS),
    ],
)
async def test_when_all_slots_are_busy_connections_are_waited_for(
    settings: dict[str, Any], has_one_host: bool, because: Limit
) -> None:
    rooms = Rooms(settings, has_one_host=has_one_host)
    rooms.add(4)
    assert rooms.held_back == {because: 4}


async def test_with_free_slots_nothing_holds_a_node_back() -> None:
    rooms = Rooms(has_free_slots=True)
    rooms.add(4)
    assert rooms.held_back == {}


async def test_what_is_set_aside_waits_for_its_host() -> None:
    rooms = Rooms({"max_connections_per_host": 1})
    rooms.add(4)
    rooms.backlog.set_aside(await rooms.backlog.next(None), "mx.x.test")
    assert rooms.held_back == {Limit.MAX_CONNECTIONS_PER_HOST: 4}


async def test_a_node_that_may_start_nothing_soon_says_so_although_nobody_waits_there() -> None:
    rooms = Rooms({"max_messages_per_second": 0.1}, has_free_slots=True)
    rooms.node.taker = Mock(spec=Taker, unstarted=0)
    assert rooms.held_back == {Limit.MAX_MESSAGES_PER_SECOND: 0}
    assert rooms.node.vitals().capacity_per_second == 0


async def test_no_limit_holds_a_node_back_that_is_switched_off() -> None:
    rooms = Rooms({"sending_enabled": False})
    rooms.add(4)
    assert rooms.held_back == {}
    assert rooms.node.vitals().capacity_per_second == 0


async def test_every_lane_is_consumed_with_the_prefetch_that_was_set() -> None:
    rooms = Rooms({"prefetch_batches": 7})
    for consumer in rooms.consumers.values():
        consumer.set_prefetch.assert_called_once_with(7)
