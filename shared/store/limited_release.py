"""What the release of limited recipients counts and writes: those under a limit of their domain or of their list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.contracts.topology import Lane
from shared.core import pacing
from shared.store.batches import DEATHS_UNTIL_ALONE
from shared.store.engine import RawConnection
from shared.store.stops import AHEAD_SECONDS

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('listfleet release'), hashtext('limited'))"

#: Due recipients are counted up to here.
COUNT_TO = 2500


@dataclass(frozen=True, slots=True)
class LimitedDemand:
    """Due recipients of one mailing that are under the same limits."""

    #: '' when only the list is limited.
    domain_limit: str
    mailing_id: int
    lane: Lane
    #: The list, when it has a limit.
    limited_list_id: int | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a limit still allows. `None` is unlimited."""

    messages: float | None = None
    #: The time that `messages` is about.
    window_seconds: float = 60.0
    messages_per_connection: int | None = None
    connections: int | None = None
    #: Batches that are out, each of which has or will have a connection.
    in_use: int = 0
    #: Those of them that no node has claimed.
    unclaimed: int = 0
    #: The first moment that is not given out yet.
    next_start_at: datetime | None = None
    turn_mailing_id: int = 0

    @property
    def interval_seconds(self) -> float:
        """How far apart the moments of its messages are; 0 without a rate."""
        return pacing.interval_seconds(self.messages, self.window_seconds) if self.messages else 0.0

    def after(self, last_start_at: datetime | None) -> Allowance:
        """What is allowed once the moments up to this one are given out, which another limit may have set apart more
        than this one does: who waits for this one alone does not wait for that."""
        if not self.messages or last_start_at is None:
            return self
        return replace(self, next_start_at=last_start_at + timedelta(seconds=self.interval_seconds))


async def try_lock(connection: RawConnection) -> bool:
    """Whether this transaction may release what is limited; a statement of its own, before anything is counted."""
    await connection.execute("SET LOCAL statement_timeout = '1s'")
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '2s'")
    return bool(await connection.fetchval(_TRY_LOCK))


async def demands(connection: RawConnection) -> Sequence[LimitedDemand]:
    """Everything limited that is due and that a live node would take, by limit, mailing by mailing.

    What nobody takes would hold the connections and the moments of its limit, which mailings of other lanes are under
    too.
    """
    rows = await connection.fetch(
        """
        WITH RECURSIVE pairs AS (
            -- From each limit and mailing to the next one, by index: not all the rows that wait.
            (SELECT domain_limit, mailing_id FROM outstanding WHERE batch_id IS NULL AND domain_limit <> ''
             ORDER BY domain_limit, mailing_id LIMIT 1)
            UNION ALL
            SELECT following.* FROM pairs CROSS JOIN LATERAL (
                SELECT o.domain_limit, o.mailing_id FROM outstanding o
                WHERE o.batch_id IS NULL AND o.domain_limit <> ''
                  AND (o.domain_limit, o.mailing_id) > (pairs.domain_limit, pairs.mailing_id)
                ORDER BY o.domain_limit, o.mailing_id LIMIT 1
            ) following
        ), wanted AS (
            SELECT domain_limit, mailing_id FROM pairs
            UNION ALL
            SELECT '', m.id FROM mailings m JOIN mailing_lists l ON l.id = m.list_id
            WHERE m.state <> 'finished' AND l.max_messages_per_hour IS NOT NULL
        )
        SELECT wanted.domain_limit, wanted.mailing_id, m.lane, due.waiting,
               (SELECT l.id FROM mailing_lists l WHERE l.id = m.list_id AND l.max_messages_per_hour IS NOT NULL)
               AS limited_list_id
        FROM wanted JOIN mailings m ON m.id = wanted.mailing_id
        CROSS JOIN LATERAL (SELECT count(*) AS waiting FROM (
            SELECT FROM outstanding o
            WHERE o.mailing_id = wanted.mailing_id AND o.domain_limit = wanted.domain_limit
              AND o.batch_id IS NULL AND o.due_at <= now() LIMIT $1
        ) counted) due
        WHERE due.waiting > 0
          -- Nothing of a stopped mailing (stops.py) is released.
          AND NOT m.is_paused AND m.cancelled_at IS NULL
          AND least(m.gives_up_at, m.not_after_at) > now() + make_interval(secs => $2)
          AND EXISTS (SELECT FROM nodes n WHERE n.kind = 'outbound' AND n.state = 'live' AND n.capacity_per_second > 0
                      AND (n.lanes IS NULL OR m.lane::text = ANY(n.lanes)))
        ORDER BY wanted.domain_limit, wanted.mailing_id
        """,
        COUNT_TO,
        AHEAD_SECONDS,
    )
    return [
        LimitedDemand(row["domain_limit"], row["mailing_id"], Lane(row["lane"]), row["limited_list_id"], row["waiting"])
        for row in rows
    ]


async def clock(connection: RawConnection) -> datetime:
    """What the database's clock says: moments are by it alone."""
    return await connection.fetchval("SELECT clock_timestamp()")  # type: ignore[no-any-return]


async def of_domains(connection: RawConnection, patterns: Sequence[str]) -> Mapping[str, Allowance]:
    """What these domain limits allow now; a pattern whose limit was lifted is missing.

    Until the transaction ends nobody changes them: a new rate's first moment is not overwritten by the one before's.
    """
    rows = await connection.fetch(
        """
        SELECT pattern, connections, least(messages_per_minute, slowed_to_per_minute) AS messages_per_minute,
               messages_per_connection, next_start_at, turn_mailing_id, out.in_use, out.unclaimed
        FROM domain_limits l CROSS JOIN LATERAL (
            SELECT count(*) AS in_use, count(*) FILTER (WHERE b.state = 'released') AS unclaimed FROM batches b
            WHERE b.domain_limit = l.pattern AND b.domain_limit <> '' AND b.state IN ('released', 'claimed')
        ) out
        WHERE pattern = ANY($1) ORDER BY pattern FOR NO KEY UPDATE OF l
        """,
        patterns,
    )
    return {
        row["pattern"]: Allowance(
            messages=row["messages_per_minute"],
            window_seconds=60.0,
            messages_per_connection=row["messages_per_connection"],
            connections=row["connections"],
            in_use=row["in_use"],
            unclaimed=row["unclaimed"],
            next_start_at=row["next_start_at"],
            turn_mailing_id=row["turn_mailing_id"],
        )
        for row in rows
    }


async def of_lists(connection: RawConnection, list_ids: Sequence[int]) -> Mapping[int, Allowance]:
    """What these lists' limits allow now, and until the transaction ends."""
    rows = await connection.fetch(
        """
        SELECT id, max_messages_per_hour, next_start_at FROM mailing_lists
        WHERE id = ANY($1) AND max_messages_per_hour IS NOT NULL ORDER BY id FOR NO KEY UPDATE
        """,
        list_ids,
    )
    return {
        row["id"]: Allowance(
            messages=row["max_messages_per_hour"], window_seconds=3600.0, next_start_at=row["next_start_at"]
        )
        for row in rows
    }


async def give_out_moments(
    connection: RawConnection, demand: LimitedDemand, domain: Allowance, mailing_list: Allowance
) -> None:
    """The demand's mailing had its turn; this is what its limits allow from now on."""
    if demand.domain_limit:
        await connection.execute(
            "UPDATE domain_limits SET next_start_at = $2, turn_mailing_id = $3 WHERE pattern = $1",
            demand.domain_limit,
            domain.next_start_at,
            demand.mailing_id,
        )
    if demand.limited_list_id is not None:
        await connection.execute(
            "UPDATE mailing_lists SET next_start_at = $2 WHERE id = $1",
            demand.limited_list_id,
            mailing_list.next_start_at,
        )


async def make_batch(
    connection: RawConnection,
    demand: LimitedDemand,
    *,
    recipients: int,
    starts_at: datetime | None,
    interval_seconds: float | None,
    publish_after_seconds: float,
) -> int | None:
    """Put up to so many of the demand's due recipients into a released batch; its id, `None` when nobody is left.

    A recipient at whose nodes' hands two died already gets a batch to itself.
    """
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        WITH due AS (
            SELECT delivery_id, deaths >= $8 AS is_alone, row_number() OVER (ORDER BY due_at, delivery_id) AS place
            FROM (
                SELECT delivery_id, deaths, due_at FROM outstanding
                WHERE mailing_id = $1 AND domain_limit = $2 AND batch_id IS NULL AND due_at <= now()
                ORDER BY due_at, delivery_id LIMIT $3 FOR UPDATE SKIP LOCKED
            ) locked
        ), chosen AS (
            SELECT delivery_id FROM due
            WHERE CASE WHEN (SELECT is_alone FROM due WHERE place = 1) THEN place = 1 ELSE NOT is_alone END
        ), batch AS (
            INSERT INTO batches (mailing_id, mailing_created_at, lane, state, open, unstarted, publish_due_at,
                                 is_limited, domain_limit, starts_at, start_interval_seconds)
            SELECT m.id, m.created_at, $4, 'released', n, n, now() + make_interval(secs => $5), true, $2, $6, $7
            FROM mailings m, (SELECT count(*)::int AS n FROM chosen) counted WHERE m.id = $1 AND n > 0
            RETURNING id
        ), taken AS (
            UPDATE outstanding SET batch_id = (SELECT id FROM batch)
            WHERE delivery_id IN (SELECT delivery_id FROM chosen)
        )
        SELECT id FROM batch
        """,
        demand.mailing_id,
        demand.domain_limit,
        recipients,
        demand.lane.value,
        publish_after_seconds,
        starts_at,
        interval_seconds,
        DEATHS_UNTIL_ALONE,
    )


async def lift(connection: RawConnection, demand: LimitedDemand, *, at_most: int = 5000) -> None:
    """Recipients that wait under a limit which is no more wait like everybody else."""
    await connection.execute(
        """
        UPDATE outstanding SET domain_limit = '' WHERE delivery_id IN (
            SELECT delivery_id FROM outstanding WHERE mailing_id = $1 AND domain_limit = $2 AND batch_id IS NULL
            LIMIT $3 FOR UPDATE SKIP LOCKED)
        """,
        demand.mailing_id,
        demand.domain_limit,
        at_most,
    )
