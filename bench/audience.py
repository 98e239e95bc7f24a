"""A newsletter's audience alone: counting it, and making the deliveries of a mailing to it."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bench import rows
from bench.list_kinds import PLAIN
from deploy.local.cluster import Cluster
from deploy.local.postgres import Postgres
from shared.contracts.topology import Lane
from shared.core.mailing import MailingKind
from shared.core.segment.parsing import parse
from shared.store import audiences, expansion, mailings, messages
from shared.store.audiences import Audience
from shared.store.engine import Database, RawConnection, fetch_one
from shared.store.messages import NewMessage

_DATABASE = "audience"
#: Different addresses, and how many of them are on both lists.
ADDRESSES, ON_BOTH = 100_000, 10_000
PAGE_MEMBERS = 5_000
#: Met by three quarters of the members, most of them because they opened an earlier newsletter.
SEGMENT = {
    "and": [
        {"field": "city", "in": ["Berlin", "Paris", "Rome"]},
        {"or": [{"opened": {"in_last_days": 30}}, {"property": "joined_at", "in_last_days": 90}]},
    ]
}


@dataclass(frozen=True, slots=True)
class Reached:
    """What one run came to."""

    recipients_per_second: float
    #: To count the same members beforehand.
    count_seconds: float


class AudienceAlone:
    """A migrated database without any service, two lists, and a mailing that went to both."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        self._url = server.url_of(_DATABASE)
        asyncio.run(rows.make_database(server.url, _DATABASE))
        Cluster(folder / "logs-audience", {"LISTFLEET_DATABASE_URL": self._url}).migrate()
        self._list_ids = asyncio.run(self._begin())

    def reach(self) -> Reached:
        """A count, then a new mailing with its last delivery made, on one connection as a scheduler does it."""
        return asyncio.run(self._reach())

    async def _begin(self) -> list[int]:
        list_ids = [await rows.make_list(self._url, PLAIN, name, 0) for name in ("audience-1", "audience-2")]
        database = Database(self._url, name="bench")
        async with database.raw() as connection:
            for place, list_id in enumerate(list_ids):
                first, size = place * (ADDRESSES - ON_BOTH) // 2, (ADDRESSES + ON_BOTH) // 2
                await connection.execute(_MEMBERS, list_id, first + 1, first + size)
            earlier = await _mailing(connection, list_ids, None)
            await _expand(connection, earlier)
            await connection.execute(_READ, earlier)
            await connection.execute("VACUUM ANALYZE", timeout=300)
        await database.close()
        return list_ids

    async def _reach(self) -> Reached:
        database = Database(self._url, name="bench")
        began_at = time.monotonic()
        async with database.raw_transaction() as connection:
            counted = await audiences.count(connection, Audience(self._list_ids, parse(SEGMENT)))
        count_seconds = time.monotonic() - began_at
        async with database.raw() as connection:
            mailing_id = await _mailing(connection, self._list_ids, json.dumps(SEGMENT))
            began_at = time.monotonic()
            recipients = await _expand(connection, mailing_id)
            seconds = time.monotonic() - began_at
        await database.close()
        if counted is None or counted.addresses != recipients:
            raise ValueError(f"{counted} were counted and {recipients} reached")
        return Reached(recipients / seconds, count_seconds)


_MEMBERS = """
    INSERT INTO members (list_id, email, email_key, display_name, status, delivery_mode, role, fields, joined_at)
    SELECT $1, address, address, '', 'subscribed', 'mail', 'member',
           jsonb_build_object('city', (ARRAY['Berlin', 'Paris', 'Rome', 'Oslo'])[1 + n % 4], 'number', n),
           now() - make_interval(days => n % 365)
    FROM (SELECT n, 'member-' || n || '@members.test' AS address FROM generate_series($2::int, $3::int) n) given
"""
#: All got it and opened it.
_READ = """
    WITH gone AS (DELETE FROM outstanding WHERE mailing_id = $1),
    ended AS (
        UPDATE deliveries SET state = 'delivered', ended_at = now() WHERE mailing_id = $1
        RETURNING id, mailing_id, member_id
    )
    INSERT INTO tracking_events (id, mailing_id, delivery_id, member_id, link_id, at)
    SELECT gen_random_uuid(), mailing_id, id, member_id, 0, now() FROM ended
"""


async def _mailing(connection: RawConnection, list_ids: list[int], segment: str | None) -> int:
    message = NewMessage(
        id=uuid4(),
        content=b"",
        envelope_sender="",
        message_id="",
        subject="",
        fingerprint=uuid4().bytes,
        peer="",
        targets=(),
    )
    await messages.store(connection, message)
    async with connection.transaction():
        mailing_id = await mailings.create(
            connection,
            kind=MailingKind.NEWSLETTER,
            lane=Lane.BULK,
            message_id=message.id,
            list_id=list_ids[0],
            return_domain=PLAIN.domain,
            subject="",
            expand_again_after_seconds=60,
        )
        await connection.execute(
            "UPDATE mailings SET list_ids = $2, segment = $3 WHERE id = $1", mailing_id, list_ids, segment
        )
    return mailing_id


async def _expand(connection: RawConnection, mailing_id: int) -> int:
    """How many recipients there are."""
    page = None
    while page is None or not page.is_last:
        async with connection.transaction():
            page = await expansion.expand_page(
                connection, mailing_id, page_size=PAGE_MEMBERS, expand_again_after_seconds=60
            )
        if page is None:
            raise LookupError(f"mailing {mailing_id} is expanded by somebody else")
    row = await fetch_one(connection, "SELECT recipients FROM mailings WHERE id = $1", mailing_id)
    return int(row["recipients"])
