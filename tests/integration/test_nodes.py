"""Nodes: names, leases, settings, and leaving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from shared.core.node import LeftBecause, NodeKind
from shared.store import node_settings, nodes
from shared.store.engine import Database, RawConnection
from shared.store.node_settings import DEFAULTS
from shared.store.nodes import Vitals
from tests.integration import stored


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


async def test_nodes_without_a_name_get_the_lowest_free_slot(connection: RawConnection) -> None:
    leases = [await stored.new_lease(connection) for _ in range(3)]
    assert [lease.name for lease in leases] == ["outbound-1", "outbound-2", "outbound-3"]
    await nodes.leave(connection, leases[1].incarnation, LeftBecause.DRAINED)
    assert (await stored.new_lease(connection)).name == "outbound-2"
    scheduler = await nodes.register(connection, NodeKind.SCHEDULER, None)
    assert scheduler is not None and scheduler.name == "scheduler-1"


async def test_nodes_that_register_at_once_get_different_slots(connection: RawConnection, database: Database) -> None:
    async def register() -> str:
        async with database.raw() as own:
            return (await stored.new_lease(own)).name

    names = await asyncio.gather(*(register() for _ in range(8)))
    assert sorted(names) == [f"outbound-{n}" for n in range(1, 9)]


async def test_a_live_name_is_not_given_away(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection, "berlin")
    assert await nodes.register(connection, NodeKind.OUTBOUND, "berlin") is None
    await nodes.leave(connection, lease.incarnation, LeftBecause.LOST)
    again = await stored.new_lease(connection, "berlin")
    assert again.incarnation != lease.incarnation
    assert await nodes.renew(connection, lease, Vitals()) is None, "the old incarnation stays dead"


async def test_every_renewal_is_counted_and_brings_the_settings(connection: RawConnection, database: Database) -> None:
    lease = await stored.new_lease(connection)
    async with database.transaction() as session:
        await node_settings.configure(session, NodeKind.OUTBOUND, DEFAULTS, {"max_connections": 5})
        await node_settings.configure(session, NodeKind.OUTBOUND, lease.name, {"max_messages_per_second": 20})
        await node_settings.set_draining(session, NodeKind.OUTBOUND, lease.name, is_draining=True)
    configuration = await nodes.renew(connection, lease, Vitals(capacity_per_second=12.5, unstarted=3))
    assert configuration is not None
    assert configuration.defaults_json == '{"max_connections": 5}'
    assert configuration.own_json == '{"max_messages_per_second": 20}'
    assert configuration.is_draining
    assert await nodes.live_leases(connection) == {lease.incarnation: 1}
    assert await nodes.renewals_of(connection, lease.name) == (lease.incarnation, 1)
    row = await connection.fetchrow("SELECT capacity_per_second, unstarted FROM nodes")
    assert row is not None
    assert tuple(row) == (12.5, 3)


async def test_a_node_nobody_configured_gets_empty_settings(connection: RawConnection) -> None:
    configuration = await nodes.renew(connection, await stored.new_lease(connection), Vitals())
    assert configuration is not None
    assert (configuration.defaults_json, configuration.own_json, configuration.is_draining) == ("{}", "{}", False)


async def test_a_node_learns_which_mailings_are_of_lists_with_a_rate(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    paced, _, finished = [await stored.new_mailing(connection, 1) for _ in range(3)]
    await connection.execute(
        "UPDATE mailing_lists SET max_messages_per_hour = 60"
        " WHERE id IN (SELECT list_id FROM mailings WHERE id = ANY($1))",
        [paced, finished],
    )
    await connection.execute("UPDATE mailings SET state = 'finished' WHERE id = $1", finished)
    configuration = await nodes.renew(connection, lease, Vitals())
    assert configuration is not None
    assert configuration.paced_mailings == {paced}


async def test_a_lease_ends_once_and_only_when_no_sign_of_life_came_since(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    await nodes.renew(connection, lease, Vitals(capacity_per_second=10))
    assert not await nodes.leave(connection, lease.incarnation, LeftBecause.LOST, seen_renewals=0)
    assert await nodes.leave(connection, lease.incarnation, LeftBecause.LOST, seen_renewals=1)
    assert not await nodes.leave(connection, lease.incarnation, LeftBecause.DRAINED)
    assert not await nodes.leave(connection, uuid4(), LeftBecause.DRAINED)
    row = await connection.fetchrow("SELECT state, left_because, capacity_per_second, left_at IS NOT NULL FROM nodes")
    assert row is not None
    assert tuple(row) == ("left", "lost", 0.0, True)
    assert await nodes.live_leases(connection) == {}


async def test_nodes_that_left_are_forgotten_after_a_day_unless_somebody_configured_them(
    connection: RawConnection, database: Database
) -> None:
    kept, forgotten, young, live = [await stored.new_lease(connection) for _ in range(4)]
    for lease in (kept, forgotten, young):
        await nodes.leave(connection, lease.incarnation, LeftBecause.DRAINED)
    await connection.execute(
        "UPDATE nodes SET left_at = now() - interval '25 hours' WHERE name = ANY($1)", [kept.name, forgotten.name]
    )
    async with database.transaction() as session:
        await node_settings.configure(session, NodeKind.OUTBOUND, kept.name, {"sending_enabled": False})
    await nodes.forget_left(connection, after_seconds=86_400)
    names = {row["name"] for row in await connection.fetch("SELECT name FROM nodes")}
    assert names == {kept.name, young.name, live.name}
