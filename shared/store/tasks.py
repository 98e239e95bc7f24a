"""Scheduled tasks, and the occurrences that fall due: each is one row, unique by task and moment.

Every moment is told by the database's clock. A task has one unfinished run at most: what falls due meanwhile waits for
its end, and has then been missed or not, as anything else that could not be started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel, col, select

from shared.core.schedule import Once, Recurrence, Schedule
from shared.core.task import MissedPolicy, RunState, TaskKind
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Session


class ScheduledTask(SQLModel, table=True):
    """Something to do once or again and again; `kind` says what, so that a new kind needs no new schema."""

    __tablename__ = "tasks"
    __table_args__ = (Index("ix_tasks_next_due_at", "next_due_at", postgresql_where=text("next_due_at IS NOT NULL")),)

    id: int = identity_field()
    name: str
    kind: str
    parameters: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    #: Either an expression on the time zone's clock, or one moment.
    cron: str | None = None
    time_zone: str = Field(default="UTC")
    at: datetime | None = moment_field(nullable=True)
    is_enabled: bool = True
    missed: MissedPolicy = Field(
        default=MissedPolicy.RUN_ONCE, sa_column=Column(enum_type(MissedPolicy, "missed_policy"), nullable=False)
    )
    #: The first occurrence that has no row yet; `None` when there is none to come, or the task is paused.
    next_due_at: datetime | None = moment_field(nullable=True)
    created_at: datetime = moment_field(set_now=True)
    updated_at: datetime = moment_field(set_now=True)

    @property
    def schedule(self) -> Schedule:
        """Raises `InvalidCron` and `UnknownTimeZone`, which were checked when it was set: not by this version."""
        return schedule_of(self.cron, self.time_zone, self.at)


def schedule_of(cron: str | None, time_zone: str, at: datetime | None) -> Schedule:
    """The schedule of a task's row."""
    if at is not None:
        return Once(at)
    return Recurrence.parse(cron or "", time_zone)


@dataclass(frozen=True, slots=True)
class DueTask:
    """A task of which an occurrence is due, its row locked, and the database's time."""

    id: int
    cron: str | None
    time_zone: str
    at: datetime | None
    missed: MissedPolicy
    next_due_at: datetime
    now: datetime

    @property
    def schedule(self) -> Schedule:
        return schedule_of(self.cron, self.time_zone, self.at)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What a due task's rows shall say: this occurrence, and the next one to come."""

    task_id: int
    due_at: datetime
    #: The first occurrence that this one stands for, when others were missed before it.
    missed_since_at: datetime | None
    is_skipped: bool
    next_due_at: datetime | None


async def clock(session: Session) -> datetime:
    """The database's time."""
    connection = await session.connection()
    found: datetime = (await connection.execute(text("SELECT now()"))).scalar_one()
    return found


async def add(session: Session, task: ScheduledTask) -> None:
    session.add(task)
    await session.flush()
    await session.refresh(task)


async def get(session: Session, task_id: int, *, for_change: bool = False) -> ScheduledTask | None:
    """The task; its row locked until the transaction ends when it is to be changed."""
    statement = select(ScheduledTask).where(col(ScheduledTask.id) == task_id)
    if for_change:
        statement = statement.with_for_update(key_share=True)
    return (await session.exec(statement)).one_or_none()


async def has_one_for_list(session: Session, kind: TaskKind, list_address: str) -> bool:
    """Whether there is a task of the kind whose parameters name the list, enabled or not."""
    address = func.lower(col(ScheduledTask.parameters)["list"].astext)
    statement = select(ScheduledTask.id).where(col(ScheduledTask.kind) == kind.value, address == list_address.lower())
    return (await session.exec(statement.limit(1))).first() is not None


async def page(session: Session, *, after_id: int = 0, limit: int = 100) -> Sequence[ScheduledTask]:
    """Tasks in the order they were made."""
    statement = select(ScheduledTask).where(col(ScheduledTask.id) > after_id).order_by(col(ScheduledTask.id))
    return (await session.exec(statement.limit(limit))).all()


async def remove(session: Session, task: ScheduledTask) -> None:
    """Forget the task and its runs; one that is under way ends at its next step, without effect."""
    await session.delete(task)


async def due(connection: RawConnection, *, limit: int = 500) -> Sequence[DueTask]:
    """Tasks that are due and have no unfinished run, locked until the transaction ends; those that another scheduler
    looks at just now are left out."""
    rows = await connection.fetch(
        """
        SELECT id, cron, time_zone, at, missed, next_due_at, now() AS now FROM tasks t
        WHERE next_due_at <= now()
          AND (SELECT true FROM task_runs r WHERE r.task_id = t.id AND r.ended_at IS NULL) IS NULL
        ORDER BY next_due_at LIMIT $1 FOR NO KEY UPDATE OF t SKIP LOCKED
        """,
        limit,
    )
    return [DueTask(**{**row, "missed": MissedPolicy(row["missed"])}) for row in rows]


async def make_runs(
    connection: RawConnection, occurrences: Sequence[Occurrence], *, publish_after_seconds: float
) -> Sequence[int]:
    """A row for each occurrence that has none, in the transaction that locked the tasks; the ids of those to run."""
    rows = await connection.fetch(
        """
        WITH given AS (
            SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::bool[], $5::timestamptz[])
                          AS t (task_id, due_at, missed_since_at, is_skipped, next_due_at)
        ), made AS (
            INSERT INTO task_runs (task_id, due_at, missed_since_at, state, ended_at, free_at, publish_due_at)
            SELECT task_id, due_at, missed_since_at, CASE WHEN is_skipped THEN $6::run_state ELSE $7 END,
                   CASE WHEN is_skipped THEN now() END, due_at,
                   CASE WHEN NOT is_skipped THEN now() + make_interval(secs => $8) END
            FROM given ON CONFLICT DO NOTHING RETURNING id, task_id, state
        ), moved AS (
            UPDATE tasks t SET next_due_at = given.next_due_at FROM given
            WHERE t.id = given.task_id
              -- Not while a run that somebody asked for at the same moment is unfinished.
              AND (t.id IN (SELECT task_id FROM made)
                   OR EXISTS (SELECT FROM task_runs r WHERE r.task_id = t.id AND r.due_at = given.due_at))
        )
        SELECT id FROM made WHERE state = $7 ORDER BY id
        """,
        [occurrence.task_id for occurrence in occurrences],
        [occurrence.due_at for occurrence in occurrences],
        [occurrence.missed_since_at for occurrence in occurrences],
        [occurrence.is_skipped for occurrence in occurrences],
        [occurrence.next_due_at for occurrence in occurrences],
        RunState.SKIPPED.value,
        RunState.WAITING.value,
        publish_after_seconds,
    )
    return [row["id"] for row in rows]
