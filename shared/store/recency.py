"""Limits on newsletters to one address: so many within so many days, over the whole cluster.

A mailing is under the limits of all its lists, and counts for all mailings that are under any. What counts is the
deliveries themselves, but for those that ended unsent.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.store.engine import RawConnection


async def limits_of(connection: RawConnection, list_ids: Sequence[int]) -> Sequence[tuple[int, int]]:
    """The limits of these lists: newsletters, and days.

    Where there are any, nobody else makes deliveries under a limit until the transaction ends; the statements that
    follow see what others made before.
    """
    rows = await connection.fetch(
        """
        SELECT DISTINCT recency_newsletters, recency_days FROM mailing_lists
        WHERE id = ANY($1) AND recency_newsletters IS NOT NULL
        """,
        list_ids,
    )
    if rows:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('listfleet recency', 0))")
    return [(row["recency_newsletters"], row["recency_days"]) for row in rows]


def had_enough(row: str, *, after: int) -> str:
    """The condition that an address had as many newsletters as one of the limits allows; `row` is what has its
    `email_key`. Its parameters are arrays, the limits' newsletters and their days, numbered from `after` + 1."""
    return f"""EXISTS (
        SELECT FROM unnest(${after + 1}::int[], ${after + 2}::int[]) AS recency (newsletters, days)
        WHERE recency.newsletters <= (
            SELECT count(*) FROM deliveries d
            WHERE d.recipient_key = {row}.email_key AND d.counts_as_recent
              AND d.mailing_created_at > now() - make_interval(hours => 24 * recency.days)
              AND d.state IN ('open', 'delivered', 'unknown', 'parked')))"""
