"""Limits on newsletters to one address: so many within so many days, over the whole cluster.

A mailing is under the limits of all its lists, and counts for all that are under any. What counts is the deliveries
themselves, but for those that ended unsent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.store.engine import RawConnection
from shared.store.segments import Compiled


@dataclass(frozen=True, slots=True)
class Limits:
    """What a mailing is under: each limit's newsletters and days, and the mailings that count."""

    newsletters: Sequence[int]
    days: Sequence[int]
    mailing_ids: Sequence[int]


async def limits_of(connection: RawConnection, list_ids: Sequence[int]) -> Limits | None:
    """The limits of these lists; `None` when they have none.

    Where there are any, nobody else makes deliveries under a limit until the transaction ends; the statements that
    follow see what others made before.
    """
    limits = await connection.fetch(
        """
        SELECT DISTINCT recency_newsletters AS newsletters, recency_days AS days FROM mailing_lists
        WHERE id = ANY($1) AND recency_newsletters IS NOT NULL ORDER BY 1, 2
        """,
        list_ids,
    )
    if not limits:
        return None
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('listfleet recency', 0))")
    mailings = await connection.fetch(
        """
        SELECT id FROM mailings
        WHERE list_ids IS NOT NULL AND created_at > now() - make_interval(hours => 24 * $1)
          AND list_ids && ARRAY(SELECT id FROM mailing_lists WHERE recency_newsletters IS NOT NULL)
        """,
        max(row["days"] for row in limits),
    )
    return Limits(
        [row["newsletters"] for row in limits], [row["days"] for row in limits], [row["id"] for row in mailings]
    )


def had_enough(row: str, limits: Limits, *, after: int) -> Compiled:
    """The condition that the address of a row of `members`, called `row`, had as many newsletters as one of the limits
    allows; parameters from `after` + 1 on."""
    text = f"""EXISTS (
        SELECT FROM unnest(${after + 1}::int[], ${after + 2}::int[]) AS recency (newsletters, days)
        WHERE recency.newsletters <= (
            SELECT count(*) FROM members same JOIN deliveries d ON d.member_id = same.id
            WHERE same.email_key = {row}.email_key AND d.is_newsletter AND d.mailing_id = ANY(${after + 3}::bigint[])
              AND d.mailing_created_at > now() - make_interval(hours => 24 * recency.days)
              AND d.state IN ('open', 'delivered', 'unknown', 'parked')))"""
    return Compiled(text, (limits.newsletters, limits.days, limits.mailing_ids))
