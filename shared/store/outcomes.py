"""Outcomes on their way into the rows: `record_outcomes`, the only writer of a delivery's state after a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg

from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import clean_text
from shared.store import batches, counts
from shared.store.engine import RawConnection


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one attempt, as the node that made it reports it."""

    batch_id: int
    claim: UUID
    mailing_created_at: datetime
    delivery_id: int
    round: int
    attempt: int
    outcome: Outcome
    #: When a deferred or unknown delivery is to be tried again.
    retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a group of reports."""

    #: Reports that changed a delivery now, or had done so before (a repeated group).
    in_time: int = 0
    #: Reports of claims that were taken over: kept as history, *delivered* also as the delivery's state.
    late: int = 0
    #: Second copies in a claimed batch that should not be started any more: batch → deliveries.
    to_cancel: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


async def record_outcomes(
    connection: RawConnection,
    reports: Sequence[Report],
    unstarted: Mapping[int, int],
    *,
    node_name: str,
) -> Recorded:
    """Commit a group of outcomes, and how many recipients of each batch are not started yet.

    Repeating a group after a lost answer changes nothing more. A delivery whose claim is not ours any more is only
    given its history, unless the report says *delivered*.
    """
    claims = {report.batch_id: report.claim for report in reports}
    values = (
        *_columns(reports),
        node_name,
        list(claims),
        list(claims.values()),
        [unstarted.get(batch_id) for batch_id in claims],
    )
    try:
        ours = await connection.fetchval(_CALL, *values)
    except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):
        await connection.execute(_DEFINE)
        ours = await connection.fetchval(_CALL, *values)
    if len(ours) == len(claims):
        return Recorded(in_time=len(reports))
    foreign = [report for report in reports if report.batch_id not in ours]
    late, to_cancel = await _record_late(connection, foreign, node_name=node_name)
    return Recorded(in_time=len(reports) - late, late=late, to_cancel=to_cancel)


_GIVEN = """given AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::outcome_kind[], $6::text[],
                         $7::smallint[], $8::text[], $9::text[], $10::float[], $11::timestamptz[])
           AS t (batch_id, delivery_id, round, attempt, outcome, because, reply_code, reply_text, remote_host,
                 retry_after_seconds, mailing_created_at)
)"""

_KEEP_HISTORY = """INSERT INTO attempts (delivery_id, round, attempt, mailing_created_at, batch_id, node_name, outcome,
                          because, reply_code, reply_text, remote_host)
    SELECT delivery_id, round, attempt, mailing_created_at, batch_id, $12, outcome, because, reply_code, reply_text,
           remote_host"""

_RECORD = f"""
WITH {_GIVEN}, current AS (
    -- A report that was recorded before finds its row gone, or at a later attempt.
    SELECT given.*, CASE
        WHEN given.outcome = 'delivered' THEN 'delivered'
        WHEN given.outcome = 'refused' THEN 'refused'
        -- The second copy of what an earlier holder delivered after all: it is not tried again.
        WHEN EXISTS (SELECT FROM deliveries d WHERE d.id = given.delivery_id
                     AND d.mailing_created_at = given.mailing_created_at AND d.state = 'delivered') THEN 'delivered'
        -- It may have arrived twice by now.
        WHEN given.outcome = 'unknown' AND EXISTS (
            SELECT FROM attempts a WHERE a.delivery_id = given.delivery_id AND a.outcome = 'unknown'
                AND a.mailing_created_at = given.mailing_created_at AND a.round = given.round) THEN 'unknown'
    END::delivery_state AS end_state
    FROM given JOIN outstanding o ON o.delivery_id = given.delivery_id AND o.batch_id = given.batch_id
                                 AND o.round = given.round AND o.attempt = given.attempt
    WHERE given.batch_id = ANY(ours)
), history AS (
    {_KEEP_HISTORY} FROM current ON CONFLICT DO NOTHING
), ended AS (
    UPDATE deliveries d SET state = current.end_state, ended_at = now() FROM current
    WHERE d.id = current.delivery_id AND d.mailing_created_at = current.mailing_created_at
      AND current.end_state IS NOT NULL AND d.state <> 'delivered'
    RETURNING current.batch_id, d.state
), gone AS (
    DELETE FROM outstanding o USING current
    WHERE o.delivery_id = current.delivery_id AND current.end_state IS NOT NULL
), waiting AS (
    UPDATE outstanding o
    SET batch_id = NULL, attempt = o.attempt + 1, due_at = now() + make_interval(secs => current.retry_after_seconds)
    FROM current WHERE o.delivery_id = current.delivery_id AND current.end_state IS NULL
), counted AS (
    -- No join of the two: planned for one row, it would be a loop in a loop.
    SELECT batch_id, count(outcome)::int AS n,
           count(*) FILTER (WHERE state = 'delivered')::int AS delivered,
           count(*) FILTER (WHERE state = 'refused')::int AS refused,
           count(*) FILTER (WHERE outcome = 'deferred')::int AS deferred,
           count(*) FILTER (WHERE state = 'unknown')::int AS unknown
    FROM (SELECT batch_id, outcome, NULL::delivery_state AS state FROM current
          UNION ALL SELECT batch_id, NULL, state FROM ended) told
    GROUP BY batch_id
)
UPDATE batches b
SET open = b.open - n, unstarted = least(coalesce(started.unstarted, b.unstarted), b.open - n),
    delivered = b.delivered + counted.delivered, refused = b.refused + counted.refused,
    deferred = b.deferred + counted.deferred, unknown = b.unknown + counted.unknown,
    state = CASE WHEN b.open = n THEN 'closed' ELSE b.state END,
    closed_at = CASE WHEN b.open = n THEN now() END
FROM counted JOIN unnest($13, $15) AS started (batch_id, unstarted) USING (batch_id)
WHERE b.id = counted.batch_id
"""

_TYPES = (
    *("bigint[]", "bigint[]", "smallint[]", "smallint[]", "outcome_kind[]", "text[]", "smallint[]", "text[]", "text[]"),
    *("float[]", "timestamptz[]", "text", "bigint[]", "uuid[]", "int[]"),
)

# A function, so that a group is one round trip; a temporary one of the session, so that each version of this file has
# its own. Each of its statements sees what was committed before that statement. They are planned once for any group,
# because planning takes longer than recording, and so that every row is looked up by its key: a plan that was made
# while the tables were small would walk through them.
_DEFINE = f"""
CREATE OR REPLACE FUNCTION pg_temp.record_outcomes({", ".join(_TYPES)}) RETURNS bigint[] LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_mergejoin = off SET enable_hashjoin = off AS $function$
#variable_conflict use_column
DECLARE
    ours bigint[];
BEGIN
    SELECT coalesce(array_agg(id), '{{}}') INTO ours FROM (
        SELECT id FROM batches WHERE id = ANY($13) AND claim = ANY($14) AND state = 'claimed'
        ORDER BY id FOR NO KEY UPDATE
    ) locked;
    {_RECORD};
    RETURN ours;
END
$function$
"""

_CALL = f"SELECT pg_temp.record_outcomes({', '.join(f'${n}::{kind}' for n, kind in enumerate(_TYPES, 1))})"


async def _record_late(
    connection: RawConnection, reports: Sequence[Report], *, node_name: str
) -> tuple[int, Mapping[int, tuple[int, ...]]]:
    """Keep reports whose claim is not ours any more; how many are new, and the second copies to cancel."""
    delivered = {report.delivery_id: report for report in reports if report.outcome.kind is OutcomeKind.DELIVERED}
    while True:
        async with connection.transaction():
            # The old batches too: their counters change.
            old = {report.batch_id for report in reports}
            members = await batches.lock_members(connection, list(delivered), also=old)
            if members is None:
                continue
            locked = sorted(old.union(batch_id for batch_id in members.values() if batch_id is not None))
            new = await connection.fetch(
                f"WITH {_GIVEN} {_KEEP_HISTORY} FROM given ON CONFLICT DO NOTHING RETURNING delivery_id",
                *_columns(reports),
                node_name,
            )
            ended = await _absorbing(connection, delivered, {row["delivery_id"] for row in new})
            old_batches = [delivered[delivery_id].batch_id for delivery_id in ended]
            claimed = await connection.fetch(_ABSORB_DELIVERED, ended, old_batches, locked)
        break
    to_cancel: dict[int, tuple[int, ...]] = {}
    for row in claimed:
        to_cancel[row["batch_id"]] = (*to_cancel.get(row["batch_id"], ()), row["delivery_id"])
    return len(new), to_cancel


async def _absorbing(connection: RawConnection, delivered: Mapping[int, Report], new: Set[int]) -> list[int]:
    """The deliveries that end as delivered by these late reports; where another end was counted, it is no more.

    A report that had its effect before, and comes again after somebody had the delivery sent again, has none.
    """
    rows = await connection.fetch(
        "SELECT id, mailing_id, state, round FROM deliveries WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        list(delivered),
    )
    rows = [row for row in rows if row["id"] in new or row["round"] == delivered[row["id"]].round]
    ended = Counter((row["mailing_id"], row["state"]) for row in rows if row["state"] not in ("open", "delivered"))
    await counts.change(connection, Counter({key: -n for key, n in ended.items()}))
    return [row["id"] for row in rows]


_ABSORB_DELIVERED = """
WITH late AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS t (delivery_id, old_batch_id)
), found AS (
    SELECT o.delivery_id, o.batch_id, o.mailing_created_at,
           coalesce(b.state, 'released') = 'released' AS is_removable
    FROM outstanding o JOIN late USING (delivery_id) LEFT JOIN batches b ON b.id = o.batch_id
                                                       AND b.id = ANY($3)  -- so that no plan walks through all
), absorbed AS (
    UPDATE deliveries d SET state = 'delivered', ended_at = now() FROM late
    WHERE d.id = late.delivery_id AND d.state <> 'delivered'
    RETURNING d.id, late.old_batch_id
), gone AS (
    DELETE FROM outstanding o USING found WHERE o.delivery_id = found.delivery_id AND found.is_removable
), credited AS (
    SELECT batch_id, sum(delivered)::int AS delivered, sum(removed)::int AS removed FROM (
        SELECT old_batch_id AS batch_id, 1 AS delivered, 0 AS removed FROM absorbed
        UNION ALL SELECT batch_id, 0, 1 FROM found WHERE is_removable AND batch_id IS NOT NULL
    ) changes GROUP BY batch_id
), counted AS (
    UPDATE batches b
    SET delivered = b.delivered + credited.delivered, open = b.open - removed, unstarted = b.unstarted - removed,
        state = CASE WHEN b.state = 'released' AND b.open = removed THEN 'revoked' ELSE b.state END,
        closed_at = CASE WHEN b.state = 'released' AND b.open = removed THEN now() ELSE b.closed_at END
    FROM credited WHERE b.id = credited.batch_id AND b.id = ANY($3)
)
SELECT batch_id, delivery_id FROM found WHERE NOT is_removable
"""


def _columns(reports: Sequence[Report]) -> tuple[list[object], ...]:
    """The reports as the arrays that `_GIVEN` unnests; the remote's words are cleaned, so that none fails its group."""
    outcomes = [report.outcome for report in reports]
    return (
        [report.batch_id for report in reports],
        [report.delivery_id for report in reports],
        [report.round for report in reports],
        [report.attempt for report in reports],
        [outcome.kind.value for outcome in outcomes],
        [clean_text(outcome.because) for outcome in outcomes],
        [outcome.reply.code if outcome.reply else None for outcome in outcomes],
        [clean_text(outcome.reply.text) if outcome.reply else None for outcome in outcomes],
        [outcome.remote_host for outcome in outcomes],
        [report.retry_after_seconds for report in reports],
        [report.mailing_created_at for report in reports],
    )
