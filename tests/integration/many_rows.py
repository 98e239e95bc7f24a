"""A table as it is in the middle of a large mailing, and a look at how statements walk through it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from shared.contracts.topology import Lane
from shared.store import claims, release
from shared.store.engine import RawConnection
from tests.integration import stored

#: Tables that grow with the mailings, whose rows no hot statement may walk through.
LARGE_TABLES = (
    "tracking_events",
    "tracked_links",
    "reading_counts",
    "deliveries",
    "attempts",
    "outstanding",
    "batches",
    "members",
    "tasks",
    "task_runs",
)


async def fill(connection: RawConnection, size: int) -> int:
    """One mailing to `size` members: half delivered with their attempts, half waiting, ten batches released; its id."""
    list_id = await stored.new_list(connection, 0)
    await connection.execute(
        """
        INSERT INTO members (list_id, email, email_key, display_name, status, delivery_mode, role)
        SELECT $1, 'Member-' || n || '@example.com', 'member-' || n || '@example.com', '', 'subscribed', 'mail',
               'member'
        FROM generate_series(1, $2) n
        """,
        list_id,
        size,
        timeout=600,
    )
    await connection.execute("ANALYZE members")
    mailing_id = await stored.new_mailing(connection, 0, expand=False)
    await connection.execute("UPDATE mailings SET list_id = $1 WHERE id = $2", list_id, mailing_id)
    await stored.expand_all(connection, mailing_id, 20_000)
    ids = await connection.fetchval(
        """
        WITH done AS (
            DELETE FROM outstanding WHERE delivery_id % 2 = 0 RETURNING delivery_id, mailing_id, mailing_created_at
        ), ended AS (
            UPDATE deliveries d SET state = 'delivered', ended_at = now() FROM done WHERE d.id = done.delivery_id
        ), batch AS (
            INSERT INTO batches (mailing_id, mailing_created_at, lane, state, open, unstarted, delivered, closed_at)
            SELECT mailing_id, mailing_created_at, 'posts', 'closed', 0, 0, 100, now() FROM done
            WHERE delivery_id % 200 = 0
        ), tried AS (
            INSERT INTO attempts
                   (delivery_id, round, attempt, mailing_created_at, batch_id, node_name, outcome, because)
            SELECT delivery_id, 1, 1, mailing_created_at, delivery_id / 200, 'outbound-1', 'delivered', 'accepted'
            FROM done
        )
        SELECT count(*) FROM done
        """,
        timeout=600,
    )
    assert ids == size // 2
    for _ in range(10):
        async with connection.transaction():
            await release.make_batches(
                connection, Lane.POSTS, mailing_id, recipients=100, batch_size=100, publish_after_seconds=5
            )
    for table in ("deliveries", "attempts", "outstanding", "batches"):
        await connection.execute(f"VACUUM ANALYZE {table}", timeout=600)
    return mailing_id


async def released(connection: RawConnection) -> int:
    """A released batch of a hundred."""
    return int(await connection.fetchval("SELECT min(id) FROM batches WHERE state = 'released' AND open = 100"))


async def claimed(connection: RawConnection) -> claims.ClaimedBatch:
    found = await stored.claim(connection, await released(connection), await stored.new_lease(connection))
    assert found is not None
    return found


@dataclass(frozen=True, slots=True)
class Look:
    """One statement: how long it took, and how many rows of which large table it touched in all."""

    statement: str
    milliseconds: float
    touched: Mapping[str, int]
    has_seq_scan: bool
    #: Pairs of rows that a join looked at in vain.
    compared: int


class ExplainingConnection:
    """Runs statements as they are, and each before that under EXPLAIN ANALYZE, which is rolled back."""

    def __init__(self, connection: RawConnection) -> None:
        self._connection = connection
        self.looks: list[Look] = []

    def transaction(self) -> Any:
        return self._connection.transaction()

    async def fetch(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        await self._look(statement, values)
        return await self._connection.fetch(statement, *values)

    async def fetchrow(self, statement: str, *values: object) -> asyncpg.Record | None:
        await self._look(statement, values)
        return await self._connection.fetchrow(statement, *values)

    async def fetchval(self, statement: str, *values: object) -> Any:
        await self._look(statement, values)
        return await self._connection.fetchval(statement, *values)

    async def execute(self, statement: str, *values: object) -> str:
        if not statement.startswith("SET LOCAL"):
            await self._look(statement, values)
        return str(await self._connection.execute(statement, *values))

    async def _look(self, statement: str, values: Sequence[object]) -> None:
        self.looks.append(await explain(self._connection, statement, values))


async def explain(connection: RawConnection, statement: str, values: Sequence[object]) -> Look:
    attempt = connection.transaction()
    await attempt.start()
    try:
        answer = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
    finally:
        await attempt.rollback()
    explained = json.loads(answer)[0]
    touched: dict[str, int] = {}
    has_seq_scan = False
    compared = 0
    for node in _nodes(explained["Plan"]):
        compared += round(node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"])
        walked = str(node.get("Index Name") if node["Node Type"] == "Bitmap Index Scan" else node.get("Relation Name"))
        table = next((name for name in LARGE_TABLES if name in walked), None)
        if table is None or "Scan" not in node["Node Type"]:
            continue
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        touched[table] = touched.get(table, 0) + round(rows * node["Actual Loops"])
        has_seq_scan = has_seq_scan or node["Node Type"] == "Seq Scan"
    milliseconds = explained["Execution Time"] + explained["Planning Time"]
    return Look(" ".join(statement.split()), milliseconds, touched, has_seq_scan, compared)


async def rows_fetched(connection: RawConnection) -> Mapping[str, tuple[int, int]]:
    """By large table: rows that this transaction fetched so far, within functions too, and how often it read all."""
    rows = await connection.fetch(
        """
        SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS fetched, seq_scan
        FROM pg_stat_xact_user_tables
        """
    )
    fetched = dict.fromkeys(LARGE_TABLES, (0, 0))
    for row in rows:
        table = next((name for name in LARGE_TABLES if row["relname"].startswith(name)), None)
        if table:
            total, scans = fetched[table]
            fetched[table] = total + row["fetched"], scans + row["seq_scan"]
    return fetched


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
