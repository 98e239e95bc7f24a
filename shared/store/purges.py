"""Deleting what is old: never what is outstanding, nor what belongs to a mailing that has not ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from shared.core.moments import first_id_at
from shared.store import tracking
from shared.store.engine import RawConnection

#: Messages whose content goes in one transaction: their pages are written anew.
CHUNK = 200
#: Small rows that go in one transaction.
ROWS = 2_000


async def purge_content(
    connection: RawConnection, *, days: int, after: tuple[datetime, UUID] | None
) -> tuple[int, tuple[datetime, UUID] | None]:
    """Empty the content of the next messages that are so old; how many, and where to go on, `None` at the end."""
    rows = await connection.fetch(
        """
        SELECT id, received_at FROM messages
        WHERE received_at < now() - make_interval(days => $1) AND content_purged_at IS NULL
          AND ($2::timestamptz IS NULL OR (received_at, id) > ($2, $3))
        ORDER BY received_at, id LIMIT $4 FOR NO KEY UPDATE
        """,
        days,
        after[0] if after else None,
        after[1] if after else None,
        CHUNK,
    )
    if not rows:
        return 0, None
    # Looked at now that the messages are locked: nobody can have one of their mailings sent again in between.
    status = await connection.execute(
        """
        UPDATE messages m SET content = '', content_purged_at = now()
        WHERE id = ANY($1) AND publish_due_at IS NULL
          AND NOT EXISTS (SELECT FROM mailings WHERE message_id = m.id AND state <> 'finished')
          AND NOT EXISTS (SELECT FROM held_posts WHERE message_id = m.id AND decided_at IS NULL)
          AND NOT EXISTS (SELECT FROM mailings JOIN digests ON digests.id = mailings.digest_id
                          WHERE mailings.message_id = m.id AND digests.state <> 'made')
        """,
        [row["id"] for row in rows],
    )
    return int(status.split()[-1]), (rows[-1]["received_at"], rows[-1]["id"])


async def old_months(connection: RawConnection, *, days: int) -> Sequence[str]:
    """The months, as `2026_05`, that ended so many days ago and still have their deliveries, oldest first."""
    rows = await connection.fetch(
        """
        SELECT month FROM (
            SELECT substr(relname, length('deliveries_') + 1) AS month FROM pg_inherits
            JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'deliveries'::regclass
        ) months
        WHERE to_date(month, 'YYYY_MM') + interval '1 month' < now() - make_interval(days => $1) ORDER BY month
        """,
        days,
    )
    return [row["month"] for row in rows]


async def drop_month(connection: RawConnection, month: str) -> bool:
    """Drop the month's deliveries and attempts unless one of its mailings has not ended; whether they are gone.

    Everybody who works on deliveries waits for it, so it gives up when it has to wait itself.
    """
    await connection.execute("SET LOCAL lock_timeout = '2s'")
    # Nobody can have something sent again before this transaction ends; a mailing that has something outstanding has
    # not ended.
    await connection.execute("LOCK TABLE deliveries, attempts IN ACCESS EXCLUSIVE MODE")
    is_needed = await connection.fetchval(
        """
        SELECT EXISTS (SELECT FROM mailings WHERE state <> 'finished'
                       AND to_char(created_at AT TIME ZONE 'UTC', 'YYYY_MM') = $1)
        """,
        month,
    )
    if is_needed:
        return False
    # The month is the name of a table that is there.
    await connection.execute(f"DROP TABLE IF EXISTS deliveries_{month}, attempts_{month}")
    return True


async def purge_runs(connection: RawConnection, *, days: int) -> int:
    """Delete some of the runs that ended so long ago; how many."""
    status = await connection.execute(
        """
        DELETE FROM task_runs WHERE id IN (
            SELECT id FROM task_runs WHERE ended_at < now() - make_interval(days => $1) ORDER BY ended_at LIMIT $2)
        """,
        days,
        CHUNK,
    )
    return int(status.split()[-1])


async def purge_readings(connection: RawConnection, *, days: int) -> int:
    """Delete some of the opens and clicks that are so old; how many.

    Their ids begin with the moment. Counts are differences of histories, so of a mailing whose histories have gaps
    nobody's name is kept from then on.
    """
    now: datetime = await connection.fetchval("SELECT now()")
    rows = await connection.fetch(
        "SELECT id, mailing_id FROM tracking_events WHERE id < $1 ORDER BY id LIMIT $2",
        first_id_at(now - timedelta(days=days)),
        ROWS,
    )
    if rows:
        mailing_ids = sorted({row["mailing_id"] for row in rows})
        await tracking.take_turns(connection, mailing_ids)
        await connection.execute(
            "INSERT INTO purged_readings SELECT * FROM unnest($1::bigint[]) ON CONFLICT DO NOTHING", mailing_ids
        )
        await connection.execute("DELETE FROM tracking_events WHERE id = ANY($1)", [row["id"] for row in rows])
    return len(rows)


async def purge_bounces(connection: RawConnection, *, days: int) -> int:
    """Delete some of the bounces and complaints that are so old; how many."""
    return await _delete_oldest(connection, "bounce_events", "happened_at", days=days, unless="scored_at IS NULL")


async def purge_notices(connection: RawConnection, *, days: int) -> int:
    """Forget some of the notices that are so old; how many."""
    return await _delete_oldest(connection, "notices", "created_at", days=days)


async def _delete_oldest(
    connection: RawConnection, table: str, moment: str, *, days: int, unless: str = "false"
) -> int:
    # Ids follow the time, so there is no index on the moment.
    status = await connection.execute(
        f"""
        DELETE FROM {table} WHERE {moment} < now() - make_interval(days => $1)
           AND id IN (SELECT id FROM {table} WHERE NOT ({unless}) ORDER BY id LIMIT $2)
        """,
        days,
        ROWS,
    )
    return int(status.split()[-1])


async def purge_requests(connection: RawConnection, *, days: int) -> int:
    """Forget some of the requests whose time was over so long ago; how many."""
    status = await connection.execute(
        """
        DELETE FROM subscription_requests WHERE id IN (
            SELECT id FROM subscription_requests
            WHERE state <> 'pending' AND expires_at < now() - make_interval(days => $1) ORDER BY expires_at LIMIT $2)
        """,
        days,
        ROWS,
    )
    return int(status.split()[-1])
