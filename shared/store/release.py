"""What the release step counts and writes, all of it from rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.contracts.topology import Lane
from shared.store.batches import DEATHS_UNTIL_ALONE
from shared.store.engine import RawConnection, fetch_one
from shared.store.stops import AHEAD_SECONDS

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('listfleet release'), hashtext($1))"


@dataclass(frozen=True, slots=True)
class MailingWaiting:
    """A mailing with recipients that are due and in no batch."""

    mailing_id: int
    #: Due recipients, counted up to the limit that was asked for.
    waiting: int
    #: Recipients in released and claimed batches that nobody started.
    unstarted: int


async def try_lock(connection: RawConnection, lane: Lane) -> bool:
    """Whether this transaction may release in the lane; a statement of its own, before anything is counted."""
    await connection.execute("SET LOCAL statement_timeout = '1s'")
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '2s'")
    return bool(await connection.fetchval(_TRY_LOCK, lane.value))


async def nodes_capacity(connection: RawConnection, lane: Lane) -> tuple[int, float]:
    """Live nodes that take work of the lane, and how many recipients they can start in a second, together."""
    row = await fetch_one(
        connection,
        """
        SELECT count(*) FILTER (WHERE capacity_per_second > 0) AS nodes,
               coalesce(sum(capacity_per_second), 0) AS per_second
        FROM nodes WHERE kind = 'outbound' AND state = 'live' AND (lanes IS NULL OR $1 = ANY(lanes))
        """,
        lane.value,
    )
    return int(row["nodes"]), float(row["per_second"])


async def waiting(connection: RawConnection, lane: Lane, *, count_to: int) -> Sequence[MailingWaiting]:
    """The lane's mailings that have something to release which is under no limit, oldest first."""
    rows = await connection.fetch(
        """
        SELECT m.id, due.waiting, coalesce(out.unstarted, 0) AS unstarted
        FROM mailings m
        CROSS JOIN LATERAL (SELECT count(*) AS waiting FROM (
            SELECT FROM outstanding o
            WHERE o.mailing_id = m.id AND o.domain_limit = '' AND o.batch_id IS NULL AND o.due_at <= now() LIMIT $2
        ) counted) due
        LEFT JOIN (SELECT mailing_id, sum(unstarted) AS unstarted FROM batches
                   WHERE lane = $1 AND state IN ('released', 'claimed') AND NOT is_limited GROUP BY mailing_id) out
               ON out.mailing_id = m.id
        WHERE m.lane = $1 AND m.state <> 'finished' AND due.waiting > 0
          AND (SELECT max_messages_per_hour FROM mailing_lists l WHERE l.id = m.list_id) IS NULL
          -- Nothing of a stopped mailing (stops.py) is released.
          AND NOT m.is_paused AND m.cancelled_at IS NULL
          AND least(m.gives_up_at, m.not_after_at) > now() + make_interval(secs => $3)
        ORDER BY m.id
        """,
        lane.value,
        count_to,
        AHEAD_SECONDS,
    )
    return [MailingWaiting(row["id"], row["waiting"], row["unstarted"]) for row in rows]


async def make_batches(
    connection: RawConnection,
    lane: Lane,
    mailing_id: int,
    *,
    recipients: int,
    batch_size: int,
    publish_after_seconds: float,
) -> Sequence[int]:
    """Put up to `recipients` due recipients that are under no domain's limit into new released batches; their ids.

    A recipient at whose nodes' hands two died already gets a batch to itself.
    """
    rows = await connection.fetch(
        """
        WITH due AS (
            SELECT delivery_id, deaths, due_at FROM outstanding
            WHERE mailing_id = $1 AND domain_limit = '' AND batch_id IS NULL AND due_at <= now()
            ORDER BY due_at, delivery_id LIMIT $2 FOR UPDATE SKIP LOCKED
        ), placed AS (
            SELECT delivery_id, CASE
                WHEN deaths >= $4 THEN -delivery_id
                ELSE (row_number() OVER (PARTITION BY deaths >= $4 ORDER BY due_at, delivery_id) - 1) / $3
            END AS place FROM due
        ), led AS MATERIALIZED (
            SELECT delivery_id, place, CASE WHEN row_number() OVER (PARTITION BY place) = 1
                                            THEN nextval(pg_get_serial_sequence('batches', 'id')) END AS new_id
            FROM placed
        ), numbered AS MATERIALIZED (
            -- A window, since a join of the recipients with their batches may be planned as each with each.
            SELECT delivery_id, max(new_id) OVER (PARTITION BY place) AS batch_id FROM led
        ), sized AS (
            SELECT batch_id, count(*)::int AS n FROM numbered GROUP BY batch_id
        ), batch AS (
            INSERT INTO batches (id, mailing_id, mailing_created_at, lane, state, open, unstarted, publish_due_at)
            SELECT batch_id, $1, mailings.created_at, $5, 'released', n, n, now() + make_interval(secs => $6)
            FROM sized JOIN mailings ON mailings.id = $1
        ), taken AS (
            UPDATE outstanding o SET batch_id = numbered.batch_id
            FROM numbered WHERE o.delivery_id = numbered.delivery_id
        )
        SELECT batch_id FROM sized ORDER BY batch_id
        """,
        mailing_id,
        recipients,
        batch_size,
        DEATHS_UNTIL_ALONE,
        lane.value,
        publish_after_seconds,
    )
    return [row["batch_id"] for row in rows]


async def mark_published(connection: RawConnection, batch_ids: Sequence[int], *, again_after_seconds: float) -> None:
    """RabbitMQ has these; when nobody claims one in time, it is published again, each time after twice as long."""
    await connection.execute(
        """
        UPDATE batches
        SET publishes = publishes + 1,
            publish_due_at = now() + make_interval(secs => $2 * power(2, least(publishes, 4)))
        WHERE id IN (SELECT id FROM batches WHERE id = ANY($1) AND state = 'released' ORDER BY id FOR NO KEY UPDATE)
        """,
        batch_ids,
        again_after_seconds,
    )


async def publish_due(
    connection: RawConnection, lane: Lane, *, is_limited: bool = False, limit: int = 500
) -> Sequence[int]:
    """Released batches whose `SendBatch` is due: never published, or published and not claimed for too long.

    Limited batches have a queue of their own, and are looked for apart.
    """
    rows = await connection.fetch(
        """
        SELECT id FROM batches WHERE lane = $1 AND is_limited = $2 AND state = 'released' AND publish_due_at < now()
        ORDER BY publish_due_at, id LIMIT $3
        """,
        lane.value,
        is_limited,
        limit,
    )
    return [row["id"] for row in rows]


async def count_released(connection: RawConnection, lane: Lane, *, is_limited: bool = False) -> int:
    """How many of the lane's batches nobody has claimed."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT count(*) FROM batches WHERE lane = $1 AND is_limited = $2 AND state = 'released'",
        lane.value,
        is_limited,
    )
