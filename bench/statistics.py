"""Statistics of a mailing with a million deliveries and two million opens and clicks, as the API answers them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import rows
from bench.list_kinds import PLAIN
from deploy.local.api import Api
from deploy.local.cluster import Cluster
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from shared.store import roll_ups
from shared.store.engine import Database

DELIVERIES = 1_000_000
EVENTS = 2_000_000
LINKS = 30
DAYS = 14
_NAME = "statistics"
_ASKED = 20
#: Half of the recipients are at eight domains, the others at ten thousand.
_DOMAIN = "'domain-' || (CASE WHEN n % 2 = 0 THEN n % 16 ELSE n % 20000 END) || '.test'"
_MAKE_DELIVERIES = f"""
    INSERT INTO deliveries (mailing_created_at, mailing_id, recipient, recipient_key, state, ended_at)
    SELECT m.created_at, m.id, 'reader-' || n || '@' || domain, 'reader-' || n || '@' || domain,
           CASE WHEN n % 50 = 0 THEN 'refused' ELSE 'delivered' END::delivery_state,
           m.created_at + n * interval '1 ms'
    FROM mailings m, generate_series(1, {DELIVERIES}) n, LATERAL (SELECT {_DOMAIN} AS domain) at WHERE m.id = $1
"""
_MAKE_BATCHES = f"""
    INSERT INTO batches (mailing_id, mailing_created_at, lane, state, open, unstarted, delivered, refused, closed_at)
    SELECT m.id, m.created_at, 'bulk', 'closed', 0, 0, 98, 2, now()
    FROM mailings m, generate_series(1, {DELIVERIES} / 100) n WHERE m.id = $1
"""
_MAKE_BOUNCES = """
    INSERT INTO bounce_events (delivery_id, member_id, kind, message_id, reply, scored_at)
    SELECT id, id, 'bounce', gen_random_uuid(), 'user unknown', now() FROM deliveries
    WHERE mailing_id = $1 AND state = 'delivered' AND id % 40 = 1
"""
_MAKE_LINKS = f"""
    INSERT INTO tracked_links (id, mailing_id, url)
    SELECT n, $1, 'https://shop.example/offer?link=' || n FROM generate_series(1, {LINKS}) n
"""
_MAKE_EVENTS = f"""
    INSERT INTO tracking_events (id, mailing_id, delivery_id, link_id, at, sign, judged)
    SELECT gen_random_uuid(), $1, first.id + n % {DELIVERIES}, CASE WHEN n % 4 = 0 THEN 1 + n % {LINKS} ELSE 0 END,
           first.created_at + interval '1 hour' + random() ^ 3 * interval '{DAYS} days', sign, sign
    FROM (SELECT min(id) AS id, min(mailing_created_at) AS created_at FROM deliveries WHERE mailing_id = $1) first,
         generate_series(1, {EVENTS}) n, LATERAL (SELECT CASE WHEN n % 5 = 0 THEN 'proxy'::machine_sign END AS sign) s
"""
# What `shared/core/readings.py: counted` says of the same events.
_COUNT_EVENTS = """
    INSERT INTO reading_counts (mailing_id, counted_by, key, kind, is_machine, total, readers)
    SELECT $1, by.counted_by, by.key, kind, is_machine, count(*),
           CASE WHEN by.counted_by = 'hour' THEN count(*) FILTER (WHERE is_first) ELSE count(DISTINCT delivery_id) END
    FROM (
        SELECT e.*, split_part(d.recipient_key, '@', -1) AS domain,
               CASE WHEN link_id = 0 THEN 'open' ELSE 'click' END::reading_kind AS kind,
               judged IS NOT NULL AS is_machine,
               row_number() OVER (PARTITION BY delivery_id, link_id = 0, judged IS NULL ORDER BY at) = 1 AS is_first
        FROM tracking_events e JOIN deliveries d ON d.id = e.delivery_id WHERE e.mailing_id = $1
    ) events
    CROSS JOIN LATERAL (
        VALUES ('mailing'::counted_by, ''), ('domain', domain), ('link', nullif(link_id, 0)::text),
               ('hour', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00:00"Z"'))
    ) by (counted_by, key)
    WHERE by.key IS NOT NULL GROUP BY 1, 2, 3, 4, 5
"""


class WrongFiguresError(Exception):
    """The API's figures are not those of the rows."""


@dataclass(frozen=True, slots=True)
class Told:
    """What asking for the statistics took."""

    milliseconds: float
    slowest_milliseconds: float
    #: What the task that counts deliveries took.
    roll_up_seconds: float


def tell_statistics(folder: Path, server: Postgres, broker: RabbitMQ) -> Told:
    """In a database of its own. Raises WrongFiguresError."""
    url = server.url_of(_NAME)
    asyncio.run(rows.make_database(server.url, _NAME))
    settings = {
        "LISTFLEET_DATABASE_URL": url,
        "LISTFLEET_AMQP_URL": broker.url,
        "LISTFLEET_SECRET": secrets.token_urlsafe(24),
        "LISTFLEET_ADMIN_TOKEN": (token := secrets.token_urlsafe(24)),
    }
    cluster = Cluster(folder / "logs-statistics", settings)
    cluster.migrate()
    mailing_id, roll_up_seconds = asyncio.run(_fill(url))
    with _asking(cluster, token) as api:
        took_seconds = []
        for _ in range(_ASKED + 1):
            began = time.monotonic()
            found = api.get(f"/mailings/{mailing_id}/statistics")
            took_seconds.append(time.monotonic() - began)
        read = sum(found[kind][whose] for kind in ("opens", "clicks") for whose in ("total", "machine_total"))
        ended = found["delivered"] + found["refused"]
        domains = len(found["domains"])
        if (read, ended, domains) != (EVENTS, DELIVERIES, 100) or not found["bounced"]:
            raise WrongFiguresError(f"{read} events, {ended} deliveries, {domains} domains, {found['bounced']} bounced")
    # The first one makes the connection.
    return Told(median(took_seconds[1:]) * 1000, max(took_seconds[1:]) * 1000, roll_up_seconds)


@contextmanager
def _asking(cluster: Cluster, token: str) -> Iterator[Api]:
    port = free_port()
    api = Api(f"http://{LOOPBACK}:{port}", token)
    try:
        cluster.start_service("admin_api", admin_port=str(port))
        cluster.wait_until_ready()
        yield api
    finally:
        api.close()
        cluster.stop()


async def _fill(url: str) -> tuple[int, float]:
    """The mailing's id, and what counting its deliveries took."""
    list_id = await rows.make_list(url, PLAIN, _NAME, 0)
    database = Database(url, name="bench")
    async with database.raw() as connection:
        mailing_id = await rows.make_mailing(connection, PLAIN, list_id, _NAME)
        for statement in (_MAKE_DELIVERIES, _MAKE_BATCHES, _MAKE_BOUNCES, _MAKE_LINKS, _MAKE_EVENTS, _COUNT_EVENTS):
            await connection.execute(statement, mailing_id, timeout=1200)
        await connection.execute(
            "UPDATE mailings SET state = 'finished', recipients = $2, expand_due_at = NULL WHERE id = $1",
            mailing_id,
            DELIVERIES,
        )
        for table in ("deliveries", "batches", "bounce_events", "tracking_events", "reading_counts"):
            await connection.execute(f"VACUUM ANALYZE {table}", timeout=600)
        began_seconds = time.monotonic()
        async with connection.transaction():
            await roll_ups.count(connection, mailing_id)
        roll_up_seconds = time.monotonic() - began_seconds
        await connection.execute("VACUUM ANALYZE delivery_counts")
    await database.close()
    return mailing_id, roll_up_seconds
