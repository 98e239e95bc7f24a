"""Limits of recipient domains by the API: set, shown, lifted, and read by every node."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.contracts.events import NodeSettingsChanged
from shared.core.node import NodeKind
from shared.store import nodes
from shared.store.nodes import Vitals
from tests.fakes.admin_client import AdminClient, admin_client, let_in


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        async with client.database.raw() as connection:
            await connection.execute("TRUNCATE domain_limits, destinations")
        yield client


async def test_a_limit_is_kept_under_its_patterns_one_spelling(api: AdminClient) -> None:
    answer = await api.put("/domain-limits/MX:*.Example.NET", json={"connections": 3, "messages_per_minute": 120})
    assert answer.status_code == 200
    shown = answer.json()
    assert shown | {"pattern": "mx:*.example.net", "connections": 3, "messages_per_minute": 120} == shown
    assert (shown["messages_per_connection"], shown["connections_in_use"]) == (None, 0)
    assert (await api.get("/domain-limits/mx:*.example.net")).json() == shown
    assert (await api.get("/domain-limits")).json() == [shown]


async def test_what_is_set_again_is_replaced_whole(api: AdminClient) -> None:
    await api.put("/domain-limits/example.com", json={"connections": 3})
    shown = (await api.put("/domain-limits/example.com", json={"messages_per_connection": 5})).json()
    assert (shown["connections"], shown["messages_per_connection"]) == (None, 5)


async def test_a_higher_rate_does_not_wait_for_the_next_moment_of_the_lower_one(api: AdminClient) -> None:
    hourly = {"name": "hourly", "domain": "example.org", "max_messages_per_hour": 1}
    await api.post("/lists", json=hourly)
    await api.put("/domain-limits/example.com", json={"messages_per_minute": 1})
    await api.put("/domain-limits/new.example.com", json={"messages_per_minute": 1})
    async with api.database.raw() as connection:
        await connection.execute("UPDATE mailing_lists SET next_start_at = now() + interval '1 hour'")
        await connection.execute(
            "UPDATE domain_limits SET next_start_at = now() + interval '1 minute' WHERE pattern = 'example.com'"
        )
    assert await next_starts(api) == pytest.approx([60, 0, 3600], abs=5)
    await api.put("/domain-limits/example.com", json={"messages_per_minute": 1})
    await api.put("/domain-limits/new.example.com", json={"messages_per_minute": 600})
    await api.patch("/lists/hourly@example.org", json={"max_messages_per_hour": 2})
    assert await next_starts(api) == pytest.approx([60, 0, 1810], abs=5), "an interval after what was given out"
    await api.put("/domain-limits/example.com", json={"messages_per_minute": 600})
    await api.patch("/lists/hourly@example.org", json={"max_messages_per_hour": None})
    assert await next_starts(api) == pytest.approx([9, 0, 9], abs=5)


async def next_starts(api: AdminClient) -> list[float]:
    """In how many seconds the next moments are given out, of both domains and of the list; 0 where none ever was."""
    async with api.database.raw() as connection:
        rows = await connection.fetch(
            'SELECT next_start_at - now() AS wait FROM domain_limits ORDER BY pattern COLLATE "C"'
        )
        waits = [row["wait"] for row in rows]
        waits.append(await connection.fetchval("SELECT next_start_at - now() FROM mailing_lists WHERE name = 'hourly'"))
    return [wait.total_seconds() if wait else 0 for wait in waits]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"connections": None},
        {"connections": 0},
        {"connections": True},
        {"connections": "5"},
        {"messages_per_minute": -1},
        {"messages_per_minute": 1.5},
        {"connections": 3, "node": "outbound-1"},
    ],
)
async def test_what_limits_nothing_or_makes_no_sense_is_refused(api: AdminClient, body: dict[str, object]) -> None:
    assert (await api.put("/domain-limits/example.com", json=body)).status_code == 422


@pytest.mark.parametrize("pattern", ["*", "mx:", "a*.example.com", "*.*.example.com", "192.0.2.1"])
async def test_what_is_no_pattern_is_refused(api: AdminClient, pattern: str) -> None:
    assert (await api.put(f"/domain-limits/{pattern}", json={"connections": 1})).status_code == 422
    assert (await api.get(f"/domain-limits/{pattern}")).status_code == 404


async def test_a_lifted_limit_is_gone(api: AdminClient) -> None:
    await api.put("/domain-limits/*.example.com", json={"connections": 3})
    assert (await api.delete("/domain-limits/*.example.com")).status_code == 204
    assert (await api.delete("/domain-limits/*.example.com")).status_code == 404
    assert (await api.get("/domain-limits")).json() == []


async def test_every_node_reads_the_patterns_with_its_next_sign_of_life(api: AdminClient) -> None:
    await api.put("/domain-limits/example.com", json={"connections": 3})
    async with api.database.raw() as connection:
        lease = await nodes.register(connection, NodeKind.OUTBOUND, "outbound-limited")
        assert lease is not None
        configuration = await nodes.renew(connection, lease, Vitals())
    assert configuration is not None
    assert list(configuration.domain_limits) == ["example.com"]


async def test_what_was_found_out_about_domains_is_forgotten_when_patterns_change(api: AdminClient) -> None:
    async with api.database.raw() as connection:
        await connection.execute("INSERT INTO destinations (domain, domain_limit) VALUES ('example.com', '')")
        await api.put("/domain-limits/example.com", json={"connections": 3})
        assert await connection.fetchval("SELECT count(*) FROM destinations") == 0


async def test_a_list_has_a_lane_and_a_limit(api: AdminClient) -> None:
    new = {"name": "newsletter", "domain": "example.org", "lane": "bulk", "max_messages_per_hour": 5000}
    made = (await api.post("/lists", json=new)).json()
    assert (made["lane"], made["max_messages_per_hour"]) == ("bulk", 5000)
    change = {"lane": "posts", "max_messages_per_hour": None}
    changed = (await api.patch("/lists/newsletter@example.org", json=change)).json()
    assert (changed["lane"], changed["max_messages_per_hour"]) == ("posts", None)
    assert api.announced == [NodeSettingsChanged()], "the nodes look at once, also at what they hold"
    for wrong in ({"lane": "express"}, {"lane": None}, {"max_messages_per_hour": 0}, {"max_messages_per_hour": True}):
        assert (await api.patch("/lists/newsletter@example.org", json=wrong)).status_code == 422
