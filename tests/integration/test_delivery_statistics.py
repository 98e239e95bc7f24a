"""What became of deliveries, by domain and hour: what is answered is what the rows say."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.scheduler.kinds.roll_up import roll_up
from services.scheduler.run import Run
from shared.contracts.task_kinds.roll_up import RollUpParameters
from shared.store import counts, roll_ups, task_runs
from shared.store.engine import Database, RawConnection
from tests.fakes.admin_client import AdminClient, admin_client, let_in
from tests.integration import stored
from tests.integration.test_tasks import new_run


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def rolled_up(connection: RawConnection, database: Database) -> int:
    run_id = await new_run(connection)
    claimed = await task_runs.claim(connection, run_id, token=uuid4(), node_name="scheduler-1", lease_seconds=30)
    assert claimed is not None
    run = Run(claimed, database, lease_seconds=30, is_leaving=lambda: False)
    return (await roll_up(run, RollUpParameters())).mailings


async def mailed(connection: RawConnection) -> int:
    """Six recipients at two domains: four delivered, of whom one bounced later; one refused, one waiting."""
    mailing_id = await stored.new_mailing(connection, 6)
    rows = await connection.fetch("SELECT id, member_id FROM deliveries WHERE mailing_id = $1 ORDER BY id", mailing_id)
    ids = [row["id"] for row in rows]
    for number, each in enumerate(ids):
        domain = "one.example" if number < 4 else "two.example"
        await connection.execute(
            "UPDATE deliveries SET recipient_key = $2 WHERE id = $1", each, f"reader-{number}@{domain}"
        )
    await connection.execute(
        "UPDATE deliveries SET state = 'delivered', ended_at = '2026-11-01T10:30:00Z' WHERE id = ANY($1)", ids[:4]
    )
    await connection.execute(
        "UPDATE deliveries SET state = 'refused', ended_at = '2026-11-01T11:00:00Z' WHERE id = $1", ids[4]
    )
    await connection.execute("DELETE FROM outstanding WHERE delivery_id = ANY($1)", ids[:5])
    await counts.change(connection, Counter({(mailing_id, "delivered"): 4, (mailing_id, "refused"): 1}))
    await connection.execute("UPDATE outstanding SET attempt = 2 WHERE delivery_id = $1", ids[5])
    for delivery_id, message_id in ((ids[0], uuid4()), (ids[4], None)):  # a report, and a refusal in our session
        await connection.execute(
            "INSERT INTO bounce_events (delivery_id, member_id, kind, message_id, reply, scored_at)"
            " VALUES ($1, 1, 'bounce', $2, '', now())",
            delivery_id,
            message_id,
        )
    return mailing_id


def deliveries(part: dict[str, Any]) -> tuple[int, int, int, int]:
    counted = part["deliveries"]
    return counted["delivered"], counted["refused"], counted["deferred"], counted["bounced"]


async def check(api: AdminClient, mailing_id: int) -> None:
    found = (await api.get(f"/mailings/{mailing_id}/statistics")).json()
    assert (found["deferred_now"], found["bounced"]) == (1, 1)
    assert [(domain["domain"], deliveries(domain)) for domain in found["domains"]] == [
        ("one.example", (4, 0, 0, 1)),
        ("two.example", (0, 1, 1, 0)),
    ]
    assert [(hour["begins_at"][:16], deliveries(hour)) for hour in found["hours"]] == [
        ("2026-11-01T10:00", (4, 0, 0, 1)),
        ("2026-11-01T11:00", (0, 1, 0, 0)),
    ]


async def test_a_small_mailings_deliveries_are_counted_at_once(connection: RawConnection, api: AdminClient) -> None:
    await check(api, await mailed(connection))


async def test_a_large_mailings_are_as_they_were_counted_last(
    connection: RawConnection, database: Database, api: AdminClient
) -> None:
    mailing_id = await mailed(connection)
    await connection.execute(
        "UPDATE mailings SET recipients = $2 WHERE id = $1", mailing_id, roll_ups.COUNTED_AT_ONCE + 1
    )
    found = (await api.get(f"/mailings/{mailing_id}/statistics")).json()
    assert (found["counted_at"], found["bounced"], found["domains"]) == (None, None, [])
    assert await rolled_up(connection, database) == await rolled_up(connection, database) == 1
    await check(api, mailing_id)
    # What is purged stays counted.
    for table in ("deliveries", "outstanding", "count_changes"):
        await connection.execute(f"DELETE FROM {table} WHERE mailing_id = $1", mailing_id)
    assert await rolled_up(connection, database) == 0
    await check(api, mailing_id)
