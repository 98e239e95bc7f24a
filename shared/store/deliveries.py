"""Deliveries, their attempts, and `record_outcomes`, the only writer of a delivery's state after a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, SmallInteger, UniqueConstraint, text
from sqlmodel import Field, SQLModel, col, select

from shared.core.delivery import DeliveryState, Outcome, OutcomeKind
from shared.core.smtp_reply import clean_text
from shared.store import batches
from shared.store.columns import enum_type, moment_field
from shared.store.engine import RawConnection, Session

_PARTITIONED = {"postgresql_partition_by": "RANGE (mailing_created_at)"}


class Delivery(SQLModel, table=True):
    """One mailing to one recipient. Written once and updated once: at its end."""

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("mailing_id", "recipient_key", "mailing_created_at"), _PARTITIONED)

    id: int = Field(sa_column=Column(BigInteger, primary_key=True, server_default=text("nextval('deliveries_id_seq')")))
    mailing_created_at: datetime = Field(sa_column=Column(moment_field().sa_column.type, primary_key=True))
    mailing_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    member_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    recipient: str
    recipient_key: str
    state: DeliveryState = Field(sa_column=Column(enum_type(DeliveryState, "delivery_state"), nullable=False))
    ended_at: datetime | None = moment_field(nullable=True)


class Outstanding(SQLModel, table=True):
    """A delivery that has not ended: waiting for its moment, or in a batch. The narrow table that changes."""

    __tablename__ = "outstanding"
    __table_args__ = (
        # Release takes what is due of a mailing; claims, outcomes and takeover find a batch's members.
        Index(
            "ix_outstanding_waiting",
            "mailing_id",
            "domain_limit",
            "due_at",
            "delivery_id",
            postgresql_where=text("batch_id IS NULL"),
        ),
        # Which limits have something waiting, and of which mailings: of limited recipients only.
        Index(
            "ix_outstanding_limited",
            "domain_limit",
            "mailing_id",
            "due_at",
            "delivery_id",
            postgresql_where=text("batch_id IS NULL AND domain_limit <> ''"),
        ),
        Index("ix_outstanding_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": "0.02"}},
    )

    delivery_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    mailing_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    mailing_created_at: datetime = moment_field()
    batch_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    round: int = Field(default=1, sa_column=Column(SmallInteger, nullable=False, server_default="1"))
    attempt: int = Field(default=1, sa_column=Column(SmallInteger, nullable=False, server_default="1"))
    #: How many nodes died with this recipient in their hands.
    deaths: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    due_at: datetime = moment_field(set_now=True)
    #: The pattern of the domain limit that it is under, '' for none; whoever sends it knows better, and corrects it.
    domain_limit: str = Field(default="", sa_column_kwargs={"server_default": ""})


class Attempt(SQLModel, table=True):
    """One try, named by delivery, round and attempt, and what it came to."""

    __tablename__ = "attempts"
    __table_args__ = (_PARTITIONED,)

    delivery_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    round: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    attempt: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    mailing_created_at: datetime = Field(sa_column=Column(moment_field().sa_column.type, primary_key=True))
    batch_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    node_name: str
    outcome: OutcomeKind = Field(sa_column=Column(enum_type(OutcomeKind, "outcome_kind"), nullable=False))
    because: str
    reply_code: int | None = Field(default=None, sa_column=Column(SmallInteger))
    reply_text: str | None = None
    remote_host: str | None = None
    ended_at: datetime = moment_field(set_now=True)


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
    give_up_after_seconds: float,
) -> Recorded:
    """Commit a group of outcomes, and how many recipients of each batch are not started yet.

    Repeating a group after a lost answer changes nothing more. A delivery whose claim is not ours any more is only
    given its history, unless the report says *delivered*.
    """
    async with connection.transaction():
        claims = await batches.lock(connection, sorted({report.batch_id for report in reports}))
        ours = [report for report in reports if claims.get(report.batch_id) == report.claim]
        if ours:
            await connection.execute(
                _RECORD,
                *_columns(ours),
                node_name,
                give_up_after_seconds,
                list(unstarted),
                list(unstarted.values()),
            )
    foreign = [report for report in reports if claims.get(report.batch_id) != report.claim]
    if not foreign:
        return Recorded(in_time=len(ours))
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
        WHEN o.mailing_created_at + make_interval(secs => $13) < now() THEN 'expired'
    END::delivery_state AS end_state
    FROM given JOIN outstanding o ON o.delivery_id = given.delivery_id AND o.batch_id = given.batch_id
                                 AND o.round = given.round AND o.attempt = given.attempt
), history AS (
    {_KEEP_HISTORY} FROM current ON CONFLICT DO NOTHING
), ended AS (
    UPDATE deliveries d SET state = current.end_state, ended_at = now() FROM current
    WHERE d.id = current.delivery_id AND d.mailing_created_at = current.mailing_created_at
      AND current.end_state IS NOT NULL AND d.state <> 'delivered'
    RETURNING d.id, d.state
), gone AS (
    DELETE FROM outstanding o USING current
    WHERE o.delivery_id = current.delivery_id AND current.end_state IS NOT NULL
), waiting AS (
    UPDATE outstanding o
    SET batch_id = NULL, attempt = o.attempt + 1, due_at = now() + make_interval(secs => current.retry_after_seconds)
    FROM current WHERE o.delivery_id = current.delivery_id AND current.end_state IS NULL
), counted AS (
    SELECT current.batch_id, count(*)::int AS n,
           count(*) FILTER (WHERE ended.state = 'delivered')::int AS delivered,
           count(*) FILTER (WHERE ended.state = 'refused')::int AS refused,
           count(*) FILTER (WHERE ended.state = 'expired')::int AS expired,
           count(*) FILTER (WHERE current.outcome = 'deferred')::int AS deferred,
           count(*) FILTER (WHERE current.outcome = 'unknown')::int AS unknown
    FROM current LEFT JOIN ended ON ended.id = current.delivery_id GROUP BY current.batch_id
)
UPDATE batches b
SET open = b.open - n, unstarted = least(coalesce(started.unstarted, b.unstarted), b.open - n),
    delivered = b.delivered + counted.delivered, refused = b.refused + counted.refused,
    expired = b.expired + counted.expired, deferred = b.deferred + counted.deferred,
    unknown = b.unknown + counted.unknown,
    state = CASE WHEN b.open = n THEN 'closed' ELSE b.state END,
    closed_at = CASE WHEN b.open = n THEN now() END
FROM counted LEFT JOIN unnest($14::bigint[], $15::int[]) AS started (batch_id, unstarted) USING (batch_id)
WHERE b.id = counted.batch_id
"""


async def _record_late(
    connection: RawConnection, reports: Sequence[Report], *, node_name: str
) -> tuple[int, Mapping[int, tuple[int, ...]]]:
    """Keep reports whose claim is not ours any more; how many are new, and the second copies to cancel."""
    delivered = {
        report.delivery_id: report.batch_id for report in reports if report.outcome.kind is OutcomeKind.DELIVERED
    }
    while True:
        async with connection.transaction():
            seen = await connection.fetch(_BATCHES_OF, list(delivered))
            # The old batches too: their counters change.
            locked = sorted(
                {row["batch_id"] for row in seen if row["batch_id"]} | {report.batch_id for report in reports}
            )
            await batches.lock(connection, locked)
            # Only now nobody else can move them, those in no batch included: a release passes locked rows over.
            moved = await connection.fetch(f"{_BATCHES_OF} ORDER BY delivery_id FOR UPDATE", list(delivered))
            if any(row["batch_id"] and row["batch_id"] not in locked for row in moved):
                continue
            new = await connection.fetch(
                f"WITH {_GIVEN} {_KEEP_HISTORY} FROM given ON CONFLICT DO NOTHING RETURNING 1",
                *_columns(reports),
                node_name,
            )
            claimed = await connection.fetch(_ABSORB_DELIVERED, list(delivered), list(delivered.values()), locked)
        break
    to_cancel: dict[int, tuple[int, ...]] = {}
    for row in claimed:
        to_cancel[row["batch_id"]] = (*to_cancel.get(row["batch_id"], ()), row["delivery_id"])
    return len(new), to_cancel


_BATCHES_OF = "SELECT delivery_id, batch_id FROM outstanding WHERE delivery_id = ANY($1)"

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


async def page(
    session: Session,
    mailing_id: int,
    *,
    states: Sequence[DeliveryState] = (),
    after_key: str = "",
    limit: int = 100,
) -> Sequence[Delivery]:
    """A mailing's deliveries in the order of their normalised addresses, those after `after_key`."""
    statement = (
        select(Delivery)
        .where(col(Delivery.mailing_id) == mailing_id, col(Delivery.recipient_key) > after_key)
        .order_by(col(Delivery.recipient_key))
        .limit(limit)
    )
    if states:
        statement = statement.where(col(Delivery.state).in_(states))
    return (await session.exec(statement)).all()


async def attempts_of(session: Session, found: Sequence[Delivery]) -> Mapping[int, Sequence[Attempt]]:
    """The attempts at these deliveries, in order."""
    if not found:
        return {}
    statement = (
        select(Attempt)
        .where(
            col(Attempt.delivery_id).in_([delivery.id for delivery in found]),
            col(Attempt.mailing_created_at).in_({delivery.mailing_created_at for delivery in found}),
        )
        .order_by(col(Attempt.delivery_id), col(Attempt.round), col(Attempt.attempt))
    )
    grouped: dict[int, list[Attempt]] = {}
    for attempt in (await session.exec(statement)).all():
        grouped.setdefault(attempt.delivery_id, []).append(attempt)
    return grouped


async def outstanding_of(session: Session, found: Sequence[Delivery]) -> Mapping[int, Outstanding]:
    """Where the deliveries that have not ended stand."""
    statement = select(Outstanding).where(col(Outstanding.delivery_id).in_([delivery.id for delivery in found]))
    return {row.delivery_id: row for row in (await session.exec(statement)).all()}
