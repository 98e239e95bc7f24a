"""The expansion of a mailing into deliveries, page by page of the list's members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.store.digests import WANTS
from shared.store.engine import RawConnection, fetch_one


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

    `None` when there is nothing to do; two at once take page after page in turn. Suppressed addresses get a delivery
    that has ended; who gets the post by another list gets none.
    """
    mailing = await connection.fetchrow(
        """
        SELECT lane, list_id, expanded_to_member_id FROM mailings
        WHERE id = $1 AND state = 'expanding' FOR NO KEY UPDATE
        """,
        mailing_id,
    )
    if mailing is None:
        return None
    siblings = await _siblings(connection, mailing_id)
    done = await fetch_one(
        connection,
        f"""
        WITH page AS (
            SELECT * FROM members WHERE list_id = $2 AND id > $3 ORDER BY id LIMIT $4
        ), made AS (
            INSERT INTO deliveries
                   (mailing_id, mailing_created_at, member_id, recipient, recipient_key, state, ended_at)
            SELECT mailings.id, mailings.created_at, page.id, page.email, page.email_key,
                   CASE WHEN suppressions.email_key IS NULL THEN 'open' ELSE 'suppressed' END::delivery_state,
                   CASE WHEN suppressions.email_key IS NOT NULL THEN now() END
            FROM page JOIN mailings ON mailings.id = $1
            LEFT JOIN suppressions ON suppressions.email_key = page.email_key
                                  AND (suppressions.ends_at IS NULL OR suppressions.ends_at > now())
            WHERE page.status = 'subscribed' AND {WANTS.format(member="page", mailing="mailings")}
              AND NOT (cardinality($5::bigint[]) > 0 AND (
                  EXISTS (SELECT FROM deliveries theirs
                          WHERE theirs.mailing_id = ANY($5) AND theirs.recipient_key = page.email_key)
                  OR EXISTS (SELECT FROM mailings sibling JOIN members theirs ON theirs.list_id = sibling.list_id
                             WHERE sibling.id = ANY($5) AND sibling.state = 'expanding'
                               AND theirs.email_key = page.email_key AND theirs.id > sibling.expanded_to_member_id
                               AND theirs.status = 'subscribed'
                               AND {WANTS.format(member="theirs", mailing="sibling")})))
            ORDER BY page.id
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
               (SELECT count(*) FROM made WHERE state = 'suppressed') AS suppressed
        """,
        mailing_id,
        mailing["list_id"],
        mailing["expanded_to_member_id"],
        page_size,
        siblings,
    )
    is_last = done["members"] < page_size
    await connection.execute(
        """
        UPDATE mailings
        SET recipients = recipients + $2, suppressed = suppressed + $3,
            expanded_to_member_id = coalesce($4, expanded_to_member_id),
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
    )
    return ExpandedPage(lane=Lane(mailing["lane"]), is_last=is_last, recipients=done["recipients"])


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
