"""What readers did: each event counted once, and the counts always those of the events."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.scheduler.tasks.reading import CountReadings
from shared.contracts.events import CopiesRead, ReadEvent
from shared.core.moments import id_at
from shared.core.readings import MachineSign
from shared.store import purges, roll_ups
from shared.store.engine import Database, RawConnection
from shared.store.tracking import MAX_EVENTS_A_DELIVERY
from tests.fakes.admin_client import AdminClient, admin_client, let_in
from tests.integration import stored

URL, OTHER = "https://shop.example/a", "https://shop.example/b"
PEOPLE_READ = timedelta(minutes=5)


class Mailing:
    """A mailing of a tracked list, delivered an hour ago, and what reads it."""

    def __init__(self, connection: RawConnection, database: Database) -> None:
        self.connection = connection
        self.count = CountReadings(database)
        self.id = 0
        self.deliveries: list[int] = []
        self.delivered_at = datetime.now(UTC) - timedelta(hours=1)

    async def begin(self, size: int, tracking: str = "full") -> None:
        list_id = await stored.new_list(self.connection, size)
        await self.connection.execute(
            "UPDATE mailing_lists SET tracking = $2::tracking_policy WHERE id = $1", list_id, tracking
        )
        self.id = await stored.mailing_to(self.connection, list_id)
        lease = await stored.new_lease(self.connection)
        (batch_id,) = await stored.release_all(self.connection, self.id, batch_size=max(1, size))
        batch = await stored.claim(self.connection, batch_id, lease)
        assert batch is not None
        await stored.record_all(self.connection, batch, stored.DELIVERED)
        self.deliveries = [recipient.delivery_id for recipient in batch.recipients]
        await self.connection.execute(
            "UPDATE deliveries SET ended_at = $2 WHERE mailing_id = $1", self.id, self.delivered_at
        )

    async def policy(self, tracking: str) -> None:
        await self.connection.execute(
            "UPDATE mailing_lists SET tracking = $2::tracking_policy FROM mailings m"
            " WHERE m.id = $1 AND mailing_lists.id = m.list_id",
            self.id,
            tracking,
        )

    def event(
        self,
        reader: int | None = 0,
        url: str | None = None,
        *,
        after: timedelta = PEOPLE_READ,
        sign: MachineSign | None = None,
        event_id: UUID | None = None,
    ) -> ReadEvent:
        delivery_id = None if reader is None else self.deliveries[reader]
        return ReadEvent(event_id or uuid4(), self.delivered_at + after, self.id, delivery_id, url, sign)

    async def happen(self, *events: ReadEvent) -> None:
        await self.count(CopiesRead(events))
        await self.agrees()

    async def counts(self, by: str = "mailing") -> dict[tuple[str, bool], tuple[int, int]]:
        """Total and readers, by kind and whether machines did it."""
        rows = await self.connection.fetch(
            "SELECT kind, is_machine, sum(total)::int AS total, sum(readers)::int AS readers FROM reading_counts"
            " WHERE mailing_id = $1 AND counted_by = $2::counted_by GROUP BY 1, 2 HAVING sum(total) <> 0",
            self.id,
            by,
        )
        return {(row["kind"], row["is_machine"]): (row["total"], row["readers"]) for row in rows}

    async def agrees(self) -> None:
        """The counts are those of the raw events."""
        rows = await self.connection.fetch(
            "SELECT e.*, split_part(d.recipient_key, '@', -1) AS domain FROM tracking_events e"
            " LEFT JOIN deliveries d ON d.id = e.delivery_id WHERE e.mailing_id = $1 ORDER BY e.at",
            self.id,
        )
        totals: Counter[Any] = Counter()
        readers: Counter[Any] = Counter()
        seen = set()
        for row in rows:
            what = "click" if row["link_id"] else "open", row["judged"] is not None
            hour = row["at"].strftime("%Y-%m-%dT%H:00:00Z")
            keys = [("mailing", "", *what), ("hour", hour, *what)]
            keys += [("domain", row["domain"], *what)] if row["domain"] else []
            keys += [("link", str(row["link_id"]), *what)] if row["link_id"] else []
            totals.update(keys)
            for key in keys:
                once = row["delivery_id"], key[0], *(what if key[0] == "hour" else key)
                if row["delivery_id"] is not None and once not in seen:
                    seen.add(once)
                    readers[key] += 1
        kept = await self.connection.fetch(
            "SELECT * FROM reading_counts WHERE mailing_id = $1 AND (total <> 0 OR readers <> 0)", self.id
        )
        named = {(row["counted_by"], row["key"], row["kind"], row["is_machine"]): row for row in kept}
        assert {key: row["total"] for key, row in named.items()} == dict(totals)
        assert {key: row["readers"] for key, row in named.items() if row["readers"]} == dict(readers)


@pytest.fixture
async def mailing(connection: RawConnection, database_url: str) -> AsyncIterator[Mailing]:
    database = Database(database_url, name="test")
    mailing = Mailing(connection, database)
    await mailing.begin(5)
    yield mailing
    await database.close()


async def test_an_event_counts_once_however_often_it_is_told_of(mailing: Mailing) -> None:
    opened, clicked = mailing.event(), mailing.event(url=URL)
    await mailing.happen(opened, clicked, opened)
    await mailing.happen(clicked)
    await mailing.happen(mailing.event(1), opened)
    assert await mailing.counts() == {("open", False): (2, 2), ("click", False): (1, 1)}


async def test_a_reader_counts_once_and_each_of_its_events(mailing: Mailing) -> None:
    await mailing.happen(mailing.event(), mailing.event(url=URL))
    await mailing.happen(mailing.event(url=URL), mailing.event(url=OTHER, after=timedelta(minutes=9)), mailing.event(1))
    assert await mailing.counts() == {("open", False): (2, 2), ("click", False): (3, 1)}
    assert await mailing.counts("link") == {("click", False): (3, 2)}
    assert await mailing.counts("domain") == await mailing.counts("hour") == await mailing.counts()


async def test_many_schedulers_count_the_same_events_once(mailing: Mailing) -> None:
    draw = random.Random(7)  # noqa: S311
    events = [
        mailing.event(draw.randrange(5), draw.choice([None, URL, OTHER]), after=timedelta(seconds=draw.randrange(7200)))
        for _ in range(200)
    ]
    told = [tuple(draw.sample(events, 40)) for _ in range(30)] + [tuple(events)]
    schedulers = asyncio.Semaphore(4)

    async def count(some: tuple[ReadEvent, ...]) -> None:
        async with schedulers:
            await mailing.count(CopiesRead(some))

    await asyncio.gather(*(count(some) for some in told))
    await mailing.agrees()
    assert await mailing.connection.fetchval("SELECT count(*) FROM tracking_events") == len(events)


async def test_a_list_that_is_switched_off_keeps_nothing_from_then_on(mailing: Mailing) -> None:
    await mailing.happen(mailing.event())
    await mailing.policy("off")
    await mailing.happen(mailing.event(1), mailing.event(url=URL))
    assert await mailing.counts() == {("open", False): (1, 1)}
    assert await mailing.connection.fetchval("SELECT count(*) FROM tracking_events") == 1


async def test_an_anonymous_list_keeps_nobodys_name(mailing: Mailing) -> None:
    await mailing.policy("anonymous")
    await mailing.happen(mailing.event(), mailing.event(1, URL), mailing.event(None, URL))
    assert await mailing.counts() == {("open", False): (1, 0), ("click", False): (2, 0)}
    assert await mailing.counts("domain") == {}
    assert await mailing.connection.fetchval("SELECT count(delivery_id) FROM tracking_events") == 0


async def test_machines_are_counted_apart_also_when_only_what_follows_tells(mailing: Mailing) -> None:
    await mailing.happen(mailing.event(sign=MachineSign.PROXY), mailing.event(1, after=timedelta(seconds=1)))
    await mailing.happen(mailing.event(2), mailing.event(2, URL))
    assert await mailing.counts() == {("open", True): (2, 2), ("open", False): (1, 1), ("click", False): (1, 1)}
    third = "https://shop.example/c"
    await mailing.happen(mailing.event(2, OTHER), mailing.event(2, third))
    assert await mailing.counts() == {("open", True): (2, 2), ("open", False): (1, 1), ("click", True): (3, 1)}
    await mailing.happen(mailing.event(2, URL, after=timedelta(minutes=50)))
    assert (await mailing.counts())["click", False] == (1, 1)


async def test_what_one_reader_does_ten_thousand_times_is_a_machines(mailing: Mailing) -> None:
    many = [mailing.event(url=URL, after=timedelta(seconds=number)) for number in range(MAX_EVENTS_A_DELIVERY + 50)]
    for at in range(0, len(many), 100):
        await mailing.happen(*many[at : at + 100])
    counts = await mailing.counts()
    assert sum(total for total, _ in counts.values()) == len(many)
    assert counts["click", True][0] >= 50


async def test_events_of_what_is_not_known_are_nobodys_or_none(mailing: Mailing) -> None:
    strangers = ReadEvent(uuid4(), mailing.delivered_at, mailing.id, 10**9, None)
    nowhere = ReadEvent(uuid4(), mailing.delivered_at, 10**9, 1, URL)
    await mailing.happen(strangers, nowhere)
    assert await mailing.counts() == {("open", False): (1, 0)}


async def test_an_event_of_tomorrow_happened_now(mailing: Mailing) -> None:
    await mailing.happen(mailing.event(after=timedelta(days=1)))
    assert await mailing.connection.fetchval("SELECT max(at) <= now() FROM tracking_events")


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def test_statistics_tell_people_and_machines_by_link_domain_and_hour(mailing: Mailing, api: AdminClient) -> None:
    later = PEOPLE_READ + timedelta(hours=1)  # in the next hour, whatever the minute is
    mailing.delivered_at -= timedelta(hours=1)
    await mailing.happen(mailing.event(), mailing.event(url=URL), mailing.event(1, sign=MachineSign.HEAD))
    await mailing.happen(mailing.event(url=OTHER, after=later), mailing.event(1, URL, after=later))
    answer = await api.get(f"/mailings/{mailing.id}/statistics")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["delivered"], found["refused"], found["deferred"]) == (5, 0, 0)
    assert found["opens"] == {"total": 1, "unique": 1, "machine_total": 1, "machine_unique": 1}
    assert found["clicks"] == {"total": 3, "unique": 2, "machine_total": 0, "machine_unique": 0}
    assert [(link["url"], link["clicks"]["total"], link["clicks"]["unique"]) for link in found["links"]] == [
        (URL, 2, 2),
        (OTHER, 1, 1),
    ]
    assert [(each["domain"], each["clicks"]["total"]) for each in found["domains"]] == [("example.com", 3)]
    assert [hour["clicks"]["total"] for hour in found["hours"]] == [1, 2]
    assert [hour["clicks"]["unique"] for hour in found["hours"]] == [1, 1]
    assert (await api.get("/mailings/999999/statistics")).status_code == 404


async def test_statistics_of_a_large_mailing_are_kept_sums(mailing: Mailing, api: AdminClient) -> None:
    """2,000 domains, 50 links and 30 days: what a million deliveries and two million events come to."""
    await mailing.connection.execute(
        "UPDATE mailings SET recipients = $2 WHERE id = $1", mailing.id, roll_ups.COUNTED_AT_ONCE + 1
    )
    await mailing.connection.execute("INSERT INTO roll_ups (mailing_id) VALUES ($1)", mailing.id)
    await mailing.connection.execute(
        """
        INSERT INTO delivery_counts
        SELECT $1::bigint, 'mailing'::counted_by, '', 1000000, 0, 0, 7
        UNION ALL SELECT $1, 'domain', 'domain-' || n || '.example', n, 0, 0, 0 FROM generate_series(1, 1000) n
        """,
        mailing.id,
    )
    await mailing.connection.execute(
        "INSERT INTO tracked_links (mailing_id, url) SELECT $1, 'https://a.example/' || n"
        " FROM generate_series(1, 50) n",
        mailing.id,
    )
    await mailing.connection.execute(
        """
        INSERT INTO reading_counts
        SELECT $1::bigint, 'domain'::counted_by, 'domain-' || n || '.example', kind, is_machine, n, n
        FROM generate_series(1, 2000) n, unnest(enum_range(NULL::reading_kind)) kind, unnest('{f,t}'::bool[]) is_machine
        UNION ALL SELECT $1::bigint, 'link', id::text, 'click', is_machine, id, id
        FROM tracked_links, unnest('{f,t}'::bool[]) is_machine
        UNION ALL SELECT $1::bigint, 'hour', to_char(
                             '2026-11-01'::timestamp + n * interval '1 hour', 'YYYY-MM-DD"T"HH24:00:00"Z"'),
                         kind, is_machine, n, n
        FROM generate_series(1, 720) n, unnest(enum_range(NULL::reading_kind)) kind, unnest('{f,t}'::bool[]) is_machine
        """,
        mailing.id,
    )
    found = (await api.get(f"/mailings/{mailing.id}/statistics")).json()
    assert (len(found["links"]), len(found["domains"]), len(found["hours"]), found["bounced"]) == (50, 100, 720, 7)
    largest = found["domains"][0]
    assert (largest["domain"], largest["deliveries"]["delivered"]) == ("domain-1000.example", 1000)
    assert (largest["opens"]["total"], largest["clicks"]["machine_unique"]) == (1000, 1000)


async def test_a_reader_whose_events_are_purged_is_not_counted_a_second_time(mailing: Mailing) -> None:
    old = id_at(datetime.now(UTC) - timedelta(days=40), bytes(10))
    await mailing.happen(mailing.event(event_id=old), mailing.event(1, event_id=id_at(datetime.now(UTC), bytes(10))))
    async with mailing.connection.transaction():
        assert await purges.purge_readings(mailing.connection, days=30) == 1
    await mailing.count(CopiesRead((mailing.event(), mailing.event(2))))
    assert await mailing.counts() == {("open", False): (4, 2)}
