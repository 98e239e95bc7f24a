"""Deliveries that end without an attempt, in no node's hands: cancelled, suppressed, or expired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.core.delivery import DeliveryState
from shared.store.engine import RawConnection

#: Rows that one transaction ends.
CHUNK = 5000

_END = """, gone AS (
    DELETE FROM outstanding o USING ending WHERE o.delivery_id = ending.delivery_id
), ended AS (
    UPDATE deliveries d SET state = ending.state, ended_at = now() FROM ending
    WHERE d.id = ending.delivery_id AND d.mailing_created_at = ending.mailing_created_at AND d.state = 'open'
    RETURNING d.mailing_id, d.state
), counted AS (
    INSERT INTO count_changes (mailing_id, state, change)
    SELECT mailing_id, state, count(*) FROM ended GROUP BY mailing_id, state
)
SELECT count(*) FROM ending"""


async def end_waiting(connection: RawConnection, mailing_id: int, state: DeliveryState) -> int:
    """End up to `CHUNK` of the mailing's deliveries that are in no batch; how many there were."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        f"""
        WITH ending AS (
            SELECT delivery_id, mailing_created_at, $2::delivery_state AS state FROM outstanding
            WHERE mailing_id = $1 AND batch_id IS NULL ORDER BY domain_limit, due_at LIMIT $3 FOR UPDATE SKIP LOCKED
        ){_END}
        """,
        mailing_id,
        state.value,
        CHUNK,
    )


async def end_cancelled(connection: RawConnection) -> int:
    """End up to `CHUNK` deliveries that were cancelled in a batch and came back from it; how many there were."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        f"""
        WITH ending AS (
            SELECT delivery_id, mailing_created_at, 'cancelled'::delivery_state AS state FROM outstanding
            WHERE is_cancelled AND batch_id IS NULL ORDER BY delivery_id LIMIT $1 FOR UPDATE SKIP LOCKED
        ){_END}
        """,
        CHUNK,
    )


async def end_in_batch(connection: RawConnection, batch_id: int, ending: Mapping[int, DeliveryState]) -> None:
    """End these members, not started, of a batch whose row the caller has locked."""
    await connection.execute(
        f"""
        WITH given AS (SELECT * FROM unnest($2::bigint[], $3::delivery_state[]) AS t (delivery_id, state)),
        ending AS (
            SELECT o.delivery_id, o.mailing_created_at, given.state FROM outstanding o JOIN given USING (delivery_id)
            WHERE o.batch_id = $1
        ){_END}
        """,
        batch_id,
        list(ending),
        [state.value for state in ending.values()],
    )
    await connection.execute(
        """
        UPDATE batches
        SET open = open - $2, unstarted = unstarted - $2, state = CASE WHEN open = $2 THEN 'closed' ELSE state END,
            closed_at = CASE WHEN open = $2 THEN now() END
        WHERE id = $1
        """,
        batch_id,
        len(ending),
    )


async def revoke_released(connection: RawConnection, mailing_ids: Sequence[int]) -> int:
    """Take back what is released of these mailings and not claimed; how many batches."""
    async with connection.transaction():
        rows = await connection.fetch(
            """
            SELECT id FROM batches WHERE mailing_id = ANY($1) AND state = 'released'
            ORDER BY id LIMIT $2 FOR NO KEY UPDATE
            """,
            mailing_ids,
            CHUNK // 100,
        )
        if rows:
            await connection.execute(
                """
                WITH back AS (UPDATE outstanding SET batch_id = NULL WHERE batch_id = ANY($1))
                UPDATE batches SET state = 'revoked', closed_at = now(), open = 0, unstarted = 0 WHERE id = ANY($1)
                """,
                [row["id"] for row in rows],
            )
        return len(rows)
