"""An ingress node as one of the cluster's nodes: its lease, its settings, and a database that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.broker.publisher import Publisher
from shared.contracts.events import NodeSettingsChanged
from shared.core.node import NodeKind
from shared.store import node_settings, nodes
from shared.store.engine import Database, RawConnection
from shared.store.node_settings import DEFAULTS
from shared.store.nodes import Node
from tests.fakes.waiting import until
from tests.integration.ingress_process import running_ingress

SOON_SECONDS = 4.0


@pytest.fixture
async def database(database_url: str, connection: RawConnection) -> AsyncIterator[Database]:
    store = Database(database_url, name="test", pool_size=2)
    yield store
    await store.close()


async def configure(database: Database, name: str, **settings: Any) -> None:
    async with database.transaction() as session:
        await node_settings.configure(session, NodeKind.INGRESS, name, settings)


async def drain(database: Database, name: str, *, is_draining: bool = True) -> None:
    async with database.transaction() as session:
        await node_settings.set_draining(session, NodeKind.INGRESS, name, is_draining=is_draining)


async def shown(database: Database, name: str = "ingress-1") -> Node:
    async with database.transaction() as session:
        found = await nodes.find(session, name)
    assert found is not None
    return found


async def test_a_node_registers_obeys_within_two_seconds_and_leaves(
    database: Database, database_url: str, broker_url: str
) -> None:
    async with running_ingress(database_url, broker_url) as ingress:
        node = await shown(database)
        assert (node.kind, node.state.value) == (NodeKind.INGRESS, "live")
        assert (await ingress.greeting()).startswith("220")
        assert ingress.readiness()["accepting"]

        await configure(database, "ingress-1", accepting_enabled=False)
        await until(lambda: not ingress.readiness()["accepting"], within_seconds=SOON_SECONDS)
        assert (await ingress.greeting()).startswith("421 4.3.2")

        async def is_shown_as_busy() -> bool:
            busy = (await shown(database)).busy
            return busy is not None and busy["because"] == "accepting_enabled"

        await until(is_shown_as_busy, within_seconds=SOON_SECONDS)

        await configure(database, "ingress-1", accepting_enabled=True)
        await until(lambda: ingress.readiness()["accepting"], within_seconds=SOON_SECONDS)
        await drain(database, "ingress-1")
        await until(lambda: not ingress.readiness()["accepting"], within_seconds=SOON_SECONDS)
        assert (await ingress.greeting()).startswith("421 4.3.2")
    assert (await shown(database)).left_because == "drained"


async def test_a_change_that_is_broadcast_is_in_force_at_once(
    database: Database, database_url: str, broker_url: str
) -> None:
    publisher = Publisher(broker_url, name="test")
    async with running_ingress(database_url, broker_url, lease_seconds=300.0) as ingress:  # renewed after 40 s

        async def is_switched(on: bool) -> None:
            await configure(database, "ingress-1", accepting_enabled=on)

            async def has_heard() -> bool:
                await publisher.broadcast(NodeSettingsChanged(node_name="ingress-1"))
                await asyncio.sleep(0.1)  # It hears nothing before it listens.
                return (await ingress.greeting()).startswith("220") is on

            await until(has_heard, within_seconds=10)

        await is_switched(False)
        await is_switched(True)
    await publisher.close()


async def test_what_was_set_holds_from_the_first_connection_of_a_restarted_node(
    database: Database, database_url: str, broker_url: str
) -> None:
    await configure(database, DEFAULTS, accepting_enabled=False)
    async with running_ingress(database_url, broker_url) as ingress:
        assert (await ingress.greeting()).startswith("421 4.3.2")
    await configure(database, "ingress-1", accepting_enabled=True)
    async with running_ingress(database_url, broker_url) as ingress:
        assert (await ingress.greeting()).startswith("220")


async def test_a_node_whose_predecessor_was_killed_takes_mail_at_once_under_its_settings(
    database: Database, database_url: str, broker_url: str, connection: RawConnection
) -> None:
    killed = await nodes.register(connection, NodeKind.INGRESS, "hamburg")
    assert killed is not None
    await configure(database, "hamburg", max_connections=1)
    async with running_ingress(database_url, broker_url, node_name="hamburg", lease_seconds=3.0) as ingress:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        assert (await reader.readline()).startswith(b"220")
        assert (await ingress.greeting()).startswith("421 4.3.2")
        writer.close()

        async def has_the_lease() -> bool:
            return (await shown(database, "hamburg")).incarnation != killed.incarnation

        await until(has_the_lease, within_seconds=10)


async def test_a_node_whose_lease_was_taken_registers_again_and_takes_mail_all_the_time(
    database: Database, database_url: str, broker_url: str, connection: RawConnection
) -> None:
    async with running_ingress(database_url, broker_url) as ingress:
        first = (await shown(database)).incarnation
        await connection.execute("UPDATE nodes SET state = 'left', left_at = now(), left_because = 'lost'")
        assert (await ingress.greeting()).startswith("220")

        async def is_back() -> bool:
            node = await shown(database)
            return node.state.value == "live" and node.incarnation != first

        await until(is_back, within_seconds=10)
        assert (await ingress.greeting()).startswith("220")
