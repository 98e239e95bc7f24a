"""Bounces and complaints of members: what was reported, once for a delivery; `bounce_scores` is what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel, col, select

from shared.core.bounce import BounceClass, Diagnosis
from shared.core.membership import BounceKind
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Session


class BounceEvent(SQLModel, table=True):
    """What was reported of one delivery to a member: by a message that came back, or in our own SMTP session."""

    __tablename__ = "bounce_events"
    __table_args__ = (
        # However often a report comes, and whoever else reports the same: a delivery fails once.
        UniqueConstraint("delivery_id", "kind"),
        Index("ix_bounce_events_member_id", "member_id", "id"),
        # What nobody has scored yet.
        Index("ix_bounce_events_unscored", "id", postgresql_where=text("scored_at IS NULL")),
    )

    id: int = identity_field()
    #: `None` for a complaint that names its member and not which mail.
    delivery_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    member_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: BounceKind = Field(sa_column=Column(enum_type(BounceKind, "bounce_kind"), nullable=False))
    #: The report; `None` for a refusal in our own session.
    message_id: UUID | None = None
    #: `None` until it is scored, for refusals; for ever, for complaints.
    bounce_class: BounceClass | None = Field(
        default=None, sa_column=Column(enum_type(BounceClass, "bounce_class"), nullable=True)
    )
    is_hard: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    status: str | None = None
    reply: str = Field(default="")
    happened_at: datetime = moment_field(set_now=True)
    scored_at: datetime | None = moment_field(nullable=True)
    #: What it added to the member's score.
    points: float = Field(default=0.0, sa_column_kwargs={"server_default": text("0")})
    #: Of a probe, which counts on any day.
    is_probe: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


@dataclass(frozen=True, slots=True)
class Concerned:
    """The member whom a delivery went to."""

    delivery_id: int | None
    member_id: int
    email: str
    email_key: str
    #: Whether the delivery is too old for a report of it to count.
    is_stale: bool
    #: Whether the delivery was a probe.
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class NewBounce:
    """An event to record."""

    concerned: Concerned
    kind: BounceKind
    diagnosis: Diagnosis | None
    status: str | None
    reply: str


_CONCERNED = """
    SELECT d.id, m.id AS member_id, m.email, m.email_key,
           d.mailing_created_at < now() - make_interval(days => $1) AS is_stale, d.member_id IS NULL AS is_probe
    FROM deliveries d
    JOIN LATERAL (
        SELECT id, email, email_key FROM members WHERE id = d.member_id
        UNION ALL SELECT id, email, email_key FROM members WHERE probe_mailing_id = d.mailing_id
    ) m ON true
"""


async def concerned_by(connection: RawConnection, delivery_id: int, *, valid_days: int) -> Concerned | None:
    """The member of a delivery, or of a probe; `None` when there is no such delivery, or it was to nobody on a list."""
    row = await connection.fetchrow(f"{_CONCERNED} WHERE d.id = $2", valid_days, delivery_id)
    return None if row is None else Concerned(*row)


async def concerned_of(
    connection: RawConnection, mailing_id: int, email_key: str, *, valid_days: int
) -> Concerned | None:
    """The member whom a mailing went to at this normalised address."""
    row = await connection.fetchrow(
        f"{_CONCERNED} WHERE d.mailing_id = $2 AND d.recipient_key = $3", valid_days, mailing_id, email_key
    )
    return None if row is None else Concerned(*row)


async def member_concerned(connection: RawConnection, member_id: int) -> Concerned | None:
    """The member, as long as it is one; `None` when it has left or is unknown."""
    row = await connection.fetchrow(
        "SELECT NULL, id, email, email_key, false FROM members WHERE id = $1 AND status <> 'unsubscribed'", member_id
    )
    return None if row is None else Concerned(*row)


async def record(connection: RawConnection, message_id: UUID, new: NewBounce) -> bool:
    """Keep what a message reports; whether it is news. Bounces are scored by `bounce_scores.score`."""
    diagnosis = new.diagnosis
    found = await connection.fetchval(
        """
        INSERT INTO bounce_events (delivery_id, member_id, kind, message_id, bounce_class, is_hard, status, reply,
                                   is_probe, scored_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $3 <> 'bounce'::bounce_kind THEN now() END)
        ON CONFLICT DO NOTHING RETURNING id
        """,
        new.concerned.delivery_id,
        new.concerned.member_id,
        new.kind.value,
        message_id,
        None if diagnosis is None else diagnosis.bounce_class.value,
        diagnosis is not None and diagnosis.is_hard,
        new.status,
        new.reply,
        new.concerned.is_probe,
    )
    return found is not None


async def record_refusals(connection: RawConnection, refusals: Sequence[tuple[int, datetime, str]]) -> None:
    """Keep what was refused in our sessions: delivery, its mailing's creation, the remote's words. Repeatable."""
    await connection.execute(
        """
        INSERT INTO bounce_events (delivery_id, member_id, kind, reply, is_probe)
        SELECT d.id, coalesce(d.member_id, m.id), 'bounce', given.reply, d.member_id IS NULL
        FROM unnest($1::bigint[], $2::timestamptz[], $3::text[]) AS given (delivery_id, mailing_created_at, reply)
        JOIN deliveries d ON d.id = given.delivery_id AND d.mailing_created_at = given.mailing_created_at
        LEFT JOIN members m ON d.member_id IS NULL AND m.probe_mailing_id = d.mailing_id
        WHERE coalesce(d.member_id, m.id) IS NOT NULL AND d.state = 'refused'
        ON CONFLICT DO NOTHING
        """,
        [delivery_id for delivery_id, _, _ in refusals],
        [created_at for _, created_at, _ in refusals],
        [reply for _, _, reply in refusals],
    )


async def suppress_complainer(connection: RawConnection, concerned: Concerned) -> None:
    """Nobody may mail the address any more."""
    await connection.execute(
        """
        INSERT INTO suppressions (email_key, email, reason) VALUES ($1, $2, 'complaint')
        ON CONFLICT (email_key) DO UPDATE SET reason = 'complaint', ends_at = NULL, created_at = now()
        """,
        concerned.email_key,
        concerned.email,
    )


async def history(session: Session, member_id: int, *, after_id: int = 0, limit: int = 100) -> Sequence[BounceEvent]:
    """What was reported of a member, the oldest first, those with an id above `after_id`."""
    statement = (
        select(BounceEvent)
        .where(col(BounceEvent.member_id) == member_id, col(BounceEvent.id) > after_id)
        .order_by(col(BounceEvent.id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()
