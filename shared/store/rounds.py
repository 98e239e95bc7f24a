"""What a person does to deliveries: send again, try now, cancel. Every delivery, whatever its state, has an answer.

*Send again* opens a new round for a delivery that has ended; one that waits for its next attempt is tried now; one in
a batch is left alone. *Cancel* ends what waits, and what is in a batch as soon as it is in no node's hands.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from shared.core.delivery import DeliveryState
from shared.store import batches, counts
from shared.store.engine import RawConnection


async def open_mailing(connection: RawConnection, mailing_id: int) -> bool:
    """Let the mailing have open deliveries again, for as long as a new one has; whether that is possible.

    It is not while a cancellation is under way, nor after the moment after which no attempt may begin, nor when the
    message's content was purged.
    """
    return (
        await connection.fetchval(
            """
            UPDATE mailings
            SET state = CASE WHEN state = 'finished' THEN 'running' ELSE state END, finished_at = NULL,
                cancelled_at = NULL,
                gives_up_at = greatest(gives_up_at, now() + make_interval(secs => give_up_after_seconds))
            WHERE id = $1 AND (cancelled_at IS NULL OR state = 'finished')
              AND (not_after_at IS NULL OR not_after_at > now())
              AND (SELECT content_purged_at FROM messages WHERE id = mailings.message_id FOR SHARE) IS NULL
            RETURNING true
            """,
            mailing_id,
        )
        is not None
    )


async def send_again(connection: RawConnection, delivery_ids: Sequence[int], states: Collection[DeliveryState]) -> int:
    """Open a new round for those that have ended in one of the states, try those that wait now; how many.

    In a transaction in which `open_mailing` said yes. An address that nobody may mail is left as it is.
    """
    rows = await connection.fetch(
        """
        WITH ended AS (
            SELECT id, mailing_id, mailing_created_at, round, state, recipient_key FROM deliveries d
            WHERE id = ANY($1) AND state = ANY($2::delivery_state[]) AND state <> 'open'
              AND (SELECT true FROM suppressions s WHERE s.email_key = d.recipient_key
                   AND (s.ends_at IS NULL OR s.ends_at > now())) IS NULL
              -- A second copy in a node's hands of what was delivered after all.
              AND (SELECT true FROM outstanding o WHERE o.delivery_id = d.id) IS NULL
            ORDER BY id FOR NO KEY UPDATE
        ), opened AS (
            UPDATE deliveries d SET state = 'open', ended_at = NULL, round = ended.round + 1 FROM ended
            WHERE d.id = ended.id AND d.mailing_created_at = ended.mailing_created_at
        ), waiting AS (
            INSERT INTO outstanding (delivery_id, mailing_id, mailing_created_at, round, domain_limit)
            SELECT id, mailing_id, mailing_created_at, round + 1, coalesce((
                SELECT domain_limit FROM destinations WHERE domain = split_part(recipient_key, '@', -1)), '')
            FROM ended
        )
        SELECT mailing_id, state, count(*) AS n FROM ended GROUP BY mailing_id, state
        """,
        delivery_ids,
        [state.value for state in states],
    )
    await counts.change(connection, Counter({(row["mailing_id"], row["state"]): -row["n"] for row in rows}))
    hurried = await connection.fetchval(
        """
        WITH waiting AS (
            SELECT delivery_id FROM outstanding
            WHERE delivery_id = ANY($1) AND batch_id IS NULL AND due_at > now() AND NOT is_cancelled
            ORDER BY delivery_id FOR UPDATE SKIP LOCKED
        ), hurried AS (
            UPDATE outstanding o SET due_at = now() FROM waiting WHERE o.delivery_id = waiting.delivery_id RETURNING 1
        )
        SELECT count(*) FROM hurried
        """,
        delivery_ids,
    )
    return int(sum(row["n"] for row in rows) + hurried)


async def cancel(connection: RawConnection, delivery_ids: Sequence[int]) -> tuple[int, Mapping[int, tuple[int, ...]]]:
    """Mark the open ones of these as cancelled; how many, and those in nodes' hands: batch → deliveries.

    The mark ends a delivery once it is in no batch (`endings.end_cancelled`), or when its batch is claimed.
    """
    while True:
        async with connection.transaction():
            members = await batches.lock_members(connection, delivery_ids)
            if members is None:
                continue
            marked = await connection.fetch(
                """
                UPDATE outstanding SET is_cancelled = true FROM deliveries d
                WHERE delivery_id = ANY($1) AND NOT is_cancelled AND d.id = delivery_id
                  AND d.mailing_created_at = outstanding.mailing_created_at AND d.state = 'open'
                RETURNING delivery_id
                """,
                list(members),
            )
        break
    claimed: dict[int, tuple[int, ...]] = defaultdict(tuple)
    for row in marked:
        batch_id = members[row["delivery_id"]]
        if batch_id is not None:
            claimed[batch_id] += (row["delivery_id"],)
    return len(marked), claimed
