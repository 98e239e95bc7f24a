"""Whom a newsletter goes to: the members of its lists who want mail and are in its segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from shared.core.segment.tree import And, Condition, unopened
from shared.store import segments
from shared.store.engine import RawConnection, fetch_one
from shared.store.segments import Compiled

#: Addresses that a count gives as examples.
SAMPLE = 20
COUNT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Audience:
    """The lists, and what is asked of their members; `None` asks nothing."""

    list_ids: Sequence[int]
    segment: Condition | None = None
    #: Only who got this mailing and did not open it.
    unopened_of_mailing_id: int | None = None

    def members(self, row: str, *, after: int) -> Compiled:
        """The condition on a row of `members`, called `row`; parameters from `after` + 1 on.

        Digests are about posts, so who gets the posts as digests gets newsletters as mail.
        """
        asked = [] if self.segment is None else [self.segment]
        if self.unopened_of_mailing_id is not None:
            asked.append(unopened(self.unopened_of_mailing_id))
        wants_mail = f"{row}.status = 'subscribed' AND {row}.delivery_mode <> 'nomail'"
        if not asked:
            return Compiled(wants_mail, ())
        segment = segments.compiled(And(tuple(asked)), row=row, after=after)
        return Compiled(f"{wants_mail} AND {segment.text}", segment.values)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many different addresses there are, without those that nobody may mail, and the first of them."""

    addresses: int
    sample: Sequence[str]


async def count(connection: RawConnection, audience: Audience) -> Counted | None:
    """Who would get a newsletter now, in the caller's transaction; `None` when that took too long to find out."""
    await connection.execute(f"SET LOCAL statement_timeout = '{COUNT_SECONDS}s'")
    members = audience.members("m", after=1)
    try:
        row = await fetch_one(
            connection,
            f"""
            WITH reached AS (
                SELECT m.email_key, min(m.id) AS member_id FROM members m
                WHERE m.list_id = ANY($1) AND {members.text}
                  AND NOT EXISTS (SELECT FROM suppressions s WHERE s.email_key = m.email_key
                                  AND (s.ends_at IS NULL OR s.ends_at > now()))
                GROUP BY m.email_key
            )
            SELECT (SELECT count(*) FROM reached) AS addresses,
                   ARRAY(SELECT (SELECT email FROM members WHERE id = member_id)
                         FROM reached ORDER BY member_id LIMIT {SAMPLE}) AS sample
            """,
            audience.list_ids,
            *members.values,
        )
    except asyncpg.QueryCanceledError:
        return None
    return Counted(row["addresses"], row["sample"])
