"""What chaos reads from Listfleet's database and queues, where the API has no word for it."""

from __future__ import annotations

import asyncio
import time

from shared.broker.publisher import Publisher
from shared.contracts.topology import QUEUES
from shared.store.engine import Database, fetch_one

_LOOK_SECONDS = 0.002
_UNFINISHED = """
SELECT (SELECT count(*) FROM batches WHERE state IN ('released', 'claimed')), (SELECT count(*) FROM outstanding)
"""
_RELEASING = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
  AND a.application_name LIKE 'listfleet scheduler%' LIMIT 1
"""


async def unfinished(database_url: str) -> tuple[int, int]:
    """Batches that are released or in a node's hands, and deliveries that have not ended."""
    database = Database(database_url, name="chaos", pool_size=1)
    try:
        async with database.raw() as connection:
            batches, deliveries = await fetch_one(connection, _UNFINISHED)
            return batches, deliveries
    finally:
        await database.close()


async def releasing_scheduler(database_url: str, within_seconds: float) -> str | None:
    """The name of the first scheduler that is seen in a release step; `None` when none is."""
    database = Database(database_url, name="chaos", pool_size=1)
    deadline = time.monotonic() + within_seconds
    try:
        async with database.raw() as connection:
            while time.monotonic() < deadline:
                if name := await connection.fetchval(_RELEASING):
                    return str(name).removeprefix("listfleet ")
                await asyncio.sleep(_LOOK_SECONDS)
            return None
    finally:
        await database.close()


async def queued(amqp_url: str) -> dict[str, int]:
    """How many payloads wait, by queue; queues with none are left out."""
    publisher = Publisher(amqp_url, name="chaos")
    try:
        lengths = {queue.name: await publisher.queue_length(queue.name) for queue in QUEUES}
    finally:
        await publisher.close()
    return {name: length for name, length in lengths.items() if length}
