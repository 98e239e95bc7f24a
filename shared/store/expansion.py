"""The expansion of a mailing into deliveries, page by page of its lists' members."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.delivery import DeliveryState
from shared.core.segment.parsing import parse
from shared.store import counts, recency
from shared.store.audiences import Audience
from shared.store.digest_mailings import WANTS
from shared.store.engine import RawConnection, Record, fetch_one


@dataclass(frozen=True, slots=True)
class ExpandedPage:
    """What one step of an expansion did."""

    lane: Lane
    is_last: bool
    recipients: int


async def expand_page(
    connection: RawConnection, mailing_id: int, *, page_size: int, expand_again_after_seconds: float
) -> ExpandedPage | None:
    """Make the deliveries of the next `page_size` members, in the caller's transaction.

    `None` when there is nothing to do; two at once take page after page in turn. Suppressed addresses, and those that
    had enough newsletters lately, get a delivery that has ended. Who gets the post by another list gets none; who is on
    several lists of a newsletter gets one.
    """
    mailing = await connection.fetchrow(
        """
        SELECT lane, list_id, list_ids, segment::text AS segment_json, unopened_of_mailing_id, expanded_lists,
               expanded_to_member_id
        FROM mailings WHERE id = $1 AND state = 'expanding' FOR NO KEY UPDATE
        """,
        mailing_id,
    )
    if mailing is None:
        return None
    whom = await (
        _of_post(connection, mailing_id, mailing)
        if mailing["list_ids"] is None
        else _of_newsletter(connection, mailing)
    )
    done = await fetch_one(
        connection,
        f"""
        WITH page AS (
            SELECT * FROM members WHERE list_id = $2 AND id > $3 ORDER BY id LIMIT $4
        ), made AS (
            INSERT INTO deliveries (mailing_id, mailing_created_at, member_id, recipient, recipient_key, state,
                                    ended_at, is_newsletter)
            SELECT $1, mailing_created_at, member_id, email, email_key, state, CASE WHEN state <> 'open' THEN now() END,
                   {"true" if mailing["list_ids"] is not None else "false"}
            FROM (
                SELECT mailings.created_at AS mailing_created_at, page.id AS member_id, page.email, page.email_key,
                       CASE WHEN suppressions.email_key IS NOT NULL THEN 'suppressed'
                            {f"WHEN {whom.had_enough} THEN 'recently_mailed'" if whom.had_enough else ""}
                            ELSE 'open' END::delivery_state AS state
                FROM page JOIN mailings ON mailings.id = $1
                LEFT JOIN suppressions ON suppressions.email_key = page.email_key
                                      AND (suppressions.ends_at IS NULL OR suppressions.ends_at > now())
                WHERE {whom.condition}
                ORDER BY page.id
            ) recipient
            ON CONFLICT DO NOTHING
            RETURNING id, mailing_created_at, state, recipient_key
        ), waiting AS (
            INSERT INTO outstanding (delivery_id, mailing_id, mailing_created_at, domain_limit)
            SELECT made.id, $1, made.mailing_created_at, coalesce(destinations.domain_limit, '')
            FROM made LEFT JOIN destinations ON destinations.domain = split_part(made.recipient_key, '@', -1)
            WHERE made.state = 'open'
        )
        SELECT (SELECT count(*) FROM page) AS members, (SELECT max(id) FROM page) AS last_member_id,
               (SELECT count(*) FROM made) AS recipients,
               (SELECT count(*) FROM made WHERE state = 'suppressed') AS suppressed,
               (SELECT count(*) FROM made WHERE state = 'recently_mailed') AS recently_mailed
        """,
        mailing_id,
        whom.list_id,
        mailing["expanded_to_member_id"],
        page_size,
        *whom.values,
    )
    ends_list = done["members"] < page_size
    is_last = ends_list and whom.is_last_list
    await connection.execute(
        """
        UPDATE mailings
        SET recipients = recipients + $2, suppressed = suppressed + $3,
            expanded_to_member_id = CASE WHEN $7 THEN 0 ELSE coalesce($4, expanded_to_member_id) END,
            expanded_lists = expanded_lists + $7::int,
            state = CASE WHEN $5 THEN 'running' ELSE 'expanding' END::mailing_state,
            expand_due_at = CASE WHEN NOT $5 THEN now() + make_interval(secs => $6) END
        WHERE id = $1
        """,
        mailing_id,
        done["recipients"],
        done["suppressed"],
        done["last_member_id"],
        is_last,
        expand_again_after_seconds,
        ends_list and not is_last,
    )
    if done["recently_mailed"]:
        await counts.change(
            connection, Counter({(mailing_id, DeliveryState.RECENTLY_MAILED.value): done["recently_mailed"]})
        )
    return ExpandedPage(lane=Lane(mailing["lane"]), is_last=is_last, recipients=done["recipients"])


@dataclass(frozen=True, slots=True)
class _Whom:
    """Of whose members a page is, and which of them are meant."""

    list_id: int | None
    #: On a row `page` of `members`; its parameters, and those of `had_enough`, are numbered from 5.
    condition: str
    values: Sequence[object]
    is_last_list: bool = True
    #: That an address had as many newsletters lately as it may have; '' where there is no limit.
    had_enough: str = ""


_OF_POST = f"""
    page.status = 'subscribed' AND {WANTS.format(member="page", mailing="mailings")}
    AND NOT (cardinality($5::bigint[]) > 0 AND (
        EXISTS (SELECT FROM deliveries theirs
                WHERE theirs.mailing_id = ANY($5) AND theirs.recipient_key = page.email_key)
        OR EXISTS (SELECT FROM mailings sibling JOIN members theirs ON theirs.list_id = sibling.list_id
                   WHERE sibling.id = ANY($5) AND sibling.state = 'expanding'
                     AND theirs.email_key = page.email_key AND theirs.id > sibling.expanded_to_member_id
                     AND theirs.status = 'subscribed'
                     AND {WANTS.format(member="theirs", mailing="sibling")})))
"""


async def _of_post(connection: RawConnection, mailing_id: int, mailing: Record) -> _Whom:
    return _Whom(mailing["list_id"], _OF_POST, [await _siblings(connection, mailing_id)])


async def _of_newsletter(connection: RawConnection, mailing: Record) -> _Whom:
    """List by list; who was reached by an earlier one has a delivery."""
    list_ids: Sequence[int] = mailing["list_ids"]
    segment = None if mailing["segment_json"] is None else parse(json.loads(mailing["segment_json"]))
    members = Audience(list_ids, segment, mailing["unopened_of_mailing_id"]).members("page", after=4)
    done = mailing["expanded_lists"]
    whom = _Whom(
        list_ids[done] if done < len(list_ids) else None,
        members.text,
        members.values,
        is_last_list=done + 1 >= len(list_ids),
    )
    limits = await recency.limits_of(connection, list_ids)
    if limits is None:
        return whom
    had_enough = recency.had_enough("page", limits, after=4 + len(members.values))
    return replace(whom, had_enough=had_enough.text, values=[*members.values, *had_enough.values])


async def _siblings(connection: RawConnection, mailing_id: int) -> Sequence[int]:
    """Earlier mailings of the same post, by its Message-ID, to other lists that share their members' copies; a digest's
    other mailing."""
    rows = await connection.fetch(
        """
        SELECT earlier.id
        FROM mailings mine
        JOIN messages ON messages.id = mine.message_id AND messages.message_id <> ''
        JOIN mailing_lists list ON list.id = mine.list_id AND list.one_copy_across_lists
        JOIN messages same ON same.message_id = messages.message_id AND same.message_id <> ''
                          AND same.received_at > messages.received_at - interval '7 days'
        JOIN mailings earlier ON earlier.message_id = same.id AND earlier.id < mine.id
                             AND earlier.cancelled_at IS NULL AND earlier.list_id <> mine.list_id
        JOIN mailing_lists other ON other.id = earlier.list_id AND other.one_copy_across_lists
        WHERE mine.id = $1
        UNION SELECT earlier.id FROM mailings mine JOIN mailings earlier USING (digest_id)
        WHERE mine.id = $1 AND mine.digest_format IS NOT NULL AND earlier.digest_format IS NOT NULL
              AND earlier.id < mine.id
        """,
        mailing_id,
    )
    return [row["id"] for row in rows]


async def add_recipients(connection: RawConnection, mailing_id: int, addresses: Sequence[Address]) -> None:
    """Give a mailing without a list its recipients, waiting for release unless nobody may mail them."""
    await connection.execute(
        """
        WITH made AS (
            INSERT INTO deliveries (mailing_id, mailing_created_at, recipient, recipient_key, state, ended_at)
            SELECT mailings.id, mailings.created_at, given.email, given.email_key,
                   CASE WHEN suppressions.email_key IS NULL THEN 'open' ELSE 'suppressed' END::delivery_state,
                   CASE WHEN suppressions.email_key IS NOT NULL THEN now() END
            FROM mailings CROSS JOIN unnest($2::text[], $3::text[]) AS given (email, email_key)
            LEFT JOIN suppressions ON suppressions.email_key = given.email_key
                                  AND (suppressions.ends_at IS NULL OR suppressions.ends_at > now())
            WHERE mailings.id = $1
            ON CONFLICT DO NOTHING RETURNING id, mailing_created_at, state, recipient_key
        ), waiting AS (
            INSERT INTO outstanding (delivery_id, mailing_id, mailing_created_at, domain_limit)
            SELECT id, $1, mailing_created_at, coalesce(
                (SELECT domain_limit FROM destinations WHERE domain = split_part(recipient_key, '@', -1)), '')
            FROM made WHERE state = 'open'
        )
        UPDATE mailings SET state = 'running', expand_due_at = NULL,
                            recipients = recipients + (SELECT count(*) FROM made),
                            suppressed = suppressed + (SELECT count(*) FROM made WHERE state = 'suppressed')
        WHERE id = $1 AND EXISTS (SELECT FROM made)
        """,
        mailing_id,
        [address.spelling for address in addresses],
        [address.key for address in addresses],
    )


async def expand_due(connection: RawConnection, *, limit: int = 100) -> Sequence[int]:
    """Mailings whose expansion was never published, or stands still."""
    rows = await connection.fetch(
        "SELECT id FROM mailings WHERE state = 'expanding' AND expand_due_at < now() ORDER BY id LIMIT $1", limit
    )
    return [row["id"] for row in rows]


async def mark_expansion_published(
    connection: RawConnection, mailing_ids: Sequence[int], *, again_after_seconds: float
) -> None:
    """RabbitMQ has these; those that stand still are due again after so long."""
    await connection.execute(
        """
        UPDATE mailings SET expand_due_at = now() + make_interval(secs => $2)
        WHERE id IN (SELECT id FROM mailings WHERE id = ANY($1) AND state = 'expanding'
                     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
        """,
        mailing_ids,
        again_after_seconds,
    )
