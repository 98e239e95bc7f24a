"""Runs: occurrences of tasks, who has them in hand, how far they are, and what came of them.

A run is claimed before it is done, for the time of a lease that its holder renews; whoever finds it over may claim it
anew. What is done is written in transactions that hold the run's row while the claim is theirs, with the cursor that
says how far it is: so a holder that was overtaken can do nothing more, and what is done is done once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Index, SmallInteger, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel, col, select

from shared.core.task import RunState
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Session


class TaskRun(SQLModel, table=True):
    """One occurrence of a task."""

    __tablename__ = "task_runs"
    __table_args__ = (
        UniqueConstraint("task_id", "due_at"),
        # A task does not overlap with itself.
        Index("ix_task_runs_unfinished", "task_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("ix_task_runs_publish_due_at", "publish_due_at", postgresql_where=text("publish_due_at IS NOT NULL")),
        Index("ix_task_runs_task_id_id", "task_id", "id"),
        Index("ix_task_runs_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )

    id: int = identity_field()
    task_id: int = Field(sa_column=Column(BigInteger, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False))
    #: When it fell due; of one that somebody asked for, when they did.
    due_at: datetime = moment_field()
    missed_since_at: datetime | None = moment_field(nullable=True)
    is_asked_for: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    state: RunState = Field(sa_column=Column(enum_type(RunState, "run_state"), nullable=False))
    #: Tries that came to nothing.
    failures: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    #: The holder's token.
    claim: UUID | None = None
    #: Nobody else may claim it before: it is not yet to be tried again, or its holder's lease lasts.
    free_at: datetime = moment_field(set_now=True)
    #: When `RunTask` is to be published (again); `None` once it has ended.
    publish_due_at: datetime | None = moment_field(nullable=True)
    #: Who has it in hand, or had it last.
    node_name: str | None = None
    #: How far it is, in the kind's own words.
    cursor: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    #: What the latest try that failed died of.
    error: str | None = None
    started_at: datetime | None = moment_field(nullable=True)
    ended_at: datetime | None = moment_field(nullable=True)


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run in hand."""

    id: int
    task_id: int
    claim: UUID
    kind: str
    parameters_json: str
    cursor_json: str
    due_at: datetime
    failures: int


async def page(session: Session, task_id: int, *, before_id: int | None = None, limit: int = 100) -> Sequence[TaskRun]:
    """A task's runs, newest first, those with an id below `before_id`."""
    statement = select(TaskRun).where(col(TaskRun.task_id) == task_id).order_by(col(TaskRun.id).desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(col(TaskRun.id) < before_id)
    return (await session.exec(statement)).all()


async def has_run_at(session: Session, task_id: int, due_at: datetime) -> bool:
    """Whether the occurrence has its row."""
    statement = select(col(TaskRun.id)).where(col(TaskRun.task_id) == task_id, col(TaskRun.due_at) == due_at)
    return (await session.exec(statement)).first() is not None


async def latest(session: Session, task_ids: Collection[int]) -> Mapping[int, TaskRun]:
    """The newest run of each of these tasks that has one."""
    newest = select(func.max(col(TaskRun.id))).where(col(TaskRun.task_id).in_(task_ids)).group_by(col(TaskRun.task_id))
    found = (await session.exec(select(TaskRun).where(col(TaskRun.id).in_(newest)))).all()
    return {row.task_id: row for row in found}


async def ask_for(session: Session, task_id: int, *, publish_after_seconds: float) -> TaskRun | None:
    """A run that is due now; `None` while another of the task is unfinished. The task's row is locked by the caller."""
    connection = await session.connection()
    made = await connection.execute(
        text(
            """
            INSERT INTO task_runs (task_id, due_at, is_asked_for, state, publish_due_at)
            VALUES (:task_id, now(), true, 'waiting', now() + make_interval(secs => :seconds))
            ON CONFLICT DO NOTHING RETURNING id
            """
        ),
        {"task_id": task_id, "seconds": publish_after_seconds},
    )
    run_id = made.scalar_one_or_none()
    return await session.get(TaskRun, run_id) if run_id is not None else None


async def publish_due(connection: RawConnection, *, limit: int = 500) -> Sequence[int]:
    """Runs whose `RunTask` is due: never published, not claimed for too long, or their holder's lease is over."""
    rows = await connection.fetch(
        "SELECT id FROM task_runs WHERE publish_due_at <= now() ORDER BY publish_due_at LIMIT $1", limit
    )
    return [row["id"] for row in rows]


async def mark_published(connection: RawConnection, run_ids: Sequence[int], *, again_after_seconds: float) -> None:
    """RabbitMQ has these; those that nobody claims are due again after so long."""
    await connection.execute(
        """
        UPDATE task_runs SET publish_due_at = now() + make_interval(secs => $2)
        WHERE id IN (SELECT id FROM task_runs WHERE id = ANY($1) AND ended_at IS NULL AND free_at <= now()
                     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
        """,
        run_ids,
        again_after_seconds,
    )


async def claim(
    connection: RawConnection, run_id: int, *, token: UUID, node_name: str, lease_seconds: float
) -> ClaimedRun | None:
    """The run, for as long as the lease; `None` when it is not to be had. Repeating it with the token is harmless.

    One whose holder's lease is over counts as one that failed.
    """
    row = await connection.fetchrow(
        """
        UPDATE task_runs r
        SET state = 'running', claim = $2, node_name = $3, started_at = coalesce(r.started_at, now()),
            free_at = now() + make_interval(secs => $4), publish_due_at = now() + make_interval(secs => $4),
            failures = r.failures + CASE WHEN r.state = 'running' AND r.claim <> $2 THEN 1 ELSE 0 END,
            error = CASE WHEN r.state = 'running' AND r.claim <> $2
                         THEN r.node_name || ' gave no more sign of life.' ELSE r.error END
        FROM tasks t
        WHERE r.id = $1 AND t.id = r.task_id AND r.ended_at IS NULL AND (r.free_at <= now() OR r.claim = $2)
        RETURNING r.id, r.task_id, r.claim, t.kind, t.parameters::text AS parameters_json,
                  r.cursor::text AS cursor_json, r.due_at, r.failures
        """,
        run_id,
        token,
        node_name,
        lease_seconds,
    )
    return ClaimedRun(**row) if row else None


async def hold(connection: RawConnection, run: ClaimedRun) -> bool:
    """Lock the run's row until the transaction ends; whether the claim is still ours."""
    found = await connection.fetchval(
        "SELECT true FROM task_runs WHERE id = $1 AND claim = $2 AND ended_at IS NULL FOR NO KEY UPDATE",
        run.id,
        run.claim,
    )
    return found is not None


async def advance(connection: RawConnection, run: ClaimedRun, cursor_json: str, *, lease_seconds: float) -> None:
    """How far the held run is once the transaction is committed; its lease begins anew."""
    await connection.execute(
        """
        UPDATE task_runs SET cursor = $2::jsonb, free_at = clock_timestamp() + make_interval(secs => $3),
                             publish_due_at = clock_timestamp() + make_interval(secs => $3)
        WHERE id = $1
        """,
        run.id,
        cursor_json,
        lease_seconds,
    )


async def renew(connection: RawConnection, runs: Collection[ClaimedRun], *, lease_seconds: float) -> Collection[UUID]:
    """Begin the leases of these runs anew; the claims that are still ours. A row that a step holds renews itself."""
    ids, tokens = [run.id for run in runs], [run.claim for run in runs]
    await connection.execute(
        """
        WITH mine AS (
            SELECT r.id FROM task_runs r JOIN unnest($1::bigint[], $2::uuid[]) AS t (id, claim) USING (id, claim)
            WHERE r.ended_at IS NULL ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
        )
        UPDATE task_runs r SET free_at = now() + make_interval(secs => $3),
                               publish_due_at = now() + make_interval(secs => $3)
        FROM mine WHERE r.id = mine.id
        """,
        ids,
        tokens,
        lease_seconds,
    )
    rows = await connection.fetch(
        """
        SELECT r.claim FROM task_runs r JOIN unnest($1::bigint[], $2::uuid[]) AS t (id, claim) USING (id, claim)
        WHERE r.ended_at IS NULL
        """,
        ids,
        tokens,
    )
    return {row["claim"] for row in rows}


async def succeed(connection: RawConnection, run: ClaimedRun, result_json: str) -> bool:
    """The run is done; whether it was ours to say so."""
    status = await connection.execute(
        """
        UPDATE task_runs SET state = 'succeeded', result = $3::jsonb, ended_at = now(), publish_due_at = NULL
        WHERE id = $1 AND claim = $2 AND ended_at IS NULL
        """,
        run.id,
        run.claim,
        result_json,
    )
    return bool(status == "UPDATE 1")


async def fail(connection: RawConnection, run: ClaimedRun, error: str, *, again_after_seconds: float | None) -> bool:
    """A try came to nothing: the next one after so long, or none; whether it was ours to say so."""
    status = await connection.execute(
        """
        UPDATE task_runs
        SET failures = failures + 1, error = $3, claim = NULL,
            state = CASE WHEN $4::float8 IS NULL THEN 'failed'::run_state ELSE 'waiting' END,
            ended_at = CASE WHEN $4::float8 IS NULL THEN now() END,
            free_at = now() + make_interval(secs => coalesce($4, 0)),
            publish_due_at = now() + make_interval(secs => $4)
        WHERE id = $1 AND claim = $2 AND ended_at IS NULL
        """,
        run.id,
        run.claim,
        error,
        again_after_seconds,
    )
    return bool(status == "UPDATE 1")


async def give_up(connection: RawConnection, run: ClaimedRun) -> None:
    """The run's holders died too often: it is failed, with what was written down last."""
    await connection.execute(
        """
        UPDATE task_runs SET state = 'failed', ended_at = now(), publish_due_at = NULL
        WHERE id = $1 AND claim = $2 AND ended_at IS NULL
        """,
        run.id,
        run.claim,
    )


async def hand_over(connection: RawConnection, run: ClaimedRun) -> None:
    """Let another scheduler go on with the run, from its cursor, at once."""
    await connection.execute(
        """
        UPDATE task_runs SET state = 'waiting', claim = NULL, free_at = now(), publish_due_at = now()
        WHERE id = $1 AND claim = $2 AND ended_at IS NULL
        """,
        run.id,
        run.claim,
    )
