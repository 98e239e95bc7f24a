"""Bounces and complaints of members: what was reported, once for a delivery, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel, col, select

from shared.core.bounce import BounceClass, Diagnosis
from shared.core.bounce_score import Score, scored, wants_probe
from shared.core.membership import BounceKind, MemberStatus
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Record, Session


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
    """Keep what a message reports; whether it is news. Bounces are scored by `score`."""
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


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of scoring some bounces."""

    events: int = 0
    #: Members who were held now, and why.
    held: Mapping[int, str] = field(default_factory=dict)
    #: Members whom the next bounce may hold.
    to_probe: tuple[int, ...] = ()


async def score(
    connection: RawConnection, diagnose: Callable[[str | None, str], Diagnosis], *, limit: int = 200
) -> Scored:
    """Score up to `limit` bounces that nobody has scored, and hold the members who are over.

    In a transaction of the caller's. Any number of schedulers may do it at once.
    """
    events = await connection.fetch(
        """
        SELECT id, member_id, bounce_class, is_hard, status, reply, happened_at, is_probe FROM bounce_events
        WHERE scored_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
        """,
        limit,
    )
    if not events:
        return Scored()
    members = await connection.fetch(
        """
        SELECT m.id, m.status, m.bounce_score, m.bounced_at, l.bounce_limit, l.bounce_quiet_days
        FROM members m JOIN mailing_lists l ON l.id = m.list_id
        WHERE m.id = ANY($1) ORDER BY m.id FOR NO KEY UPDATE OF m
        """,
        sorted({event["member_id"] for event in events}),
    )
    tally = _Tally({row["id"]: row for row in members})
    for event in events:
        known = event["bounce_class"]
        diagnosis = (
            Diagnosis(BounceClass(known), event["is_hard"]) if known else diagnose(event["status"], event["reply"])
        )
        tally.add(event, diagnosis)
    await tally.write(connection)
    return Scored(len(events), tally.held, tuple(tally.to_probe))


class _Tally:
    """Scores of some members while their bounces are added."""

    def __init__(self, members: Mapping[int, Record]) -> None:
        self._members = members
        self._scores = {member_id: Score(row["bounce_score"], row["bounced_at"]) for member_id, row in members.items()}
        self._given: list[tuple[int, Diagnosis, float]] = []
        self.held: dict[int, str] = {}
        self.to_probe: set[int] = set()

    def add(self, event: Record, diagnosis: Diagnosis) -> None:
        member_id = event["member_id"]
        points = 0.0
        if member_id in self._members:
            terms = self._members[member_id]
            before = self._scores[member_id]
            after = scored(
                before,
                diagnosis,
                event["happened_at"],
                quiet_days=terms["bounce_quiet_days"],
                is_probe=event["is_probe"],
            )
            self._scores[member_id] = after
            points = after.points - before.points if after.points > before.points else after.points
            points = points if after != before else 0.0
            if terms["bounce_limit"] is not None and terms["status"] == MemberStatus.SUBSCRIBED.value:
                self._judge(member_id, before, after, terms["bounce_limit"], diagnosis, event["reply"])
        self._given.append((event["id"], diagnosis, points))

    def _judge(
        self, member_id: int, before: Score, after: Score, limit: float, diagnosis: Diagnosis, reply: str
    ) -> None:
        if after != before and after.points >= limit:
            self.to_probe.discard(member_id)
            self.held.setdefault(member_id, f"{diagnosis.bounce_class.value}: {reply}"[:500])
        elif wants_probe(before, after, limit):
            self.to_probe.add(member_id)

    async def write(self, connection: RawConnection) -> None:
        await connection.execute(
            """
            UPDATE bounce_events e SET scored_at = now(), bounce_class = given.bounce_class, is_hard = given.is_hard,
                                       points = given.points
            FROM unnest($1::bigint[], $2::bounce_class[], $3::boolean[], $4::float[])
                 AS given (id, bounce_class, is_hard, points)
            WHERE e.id = given.id
            """,
            [event_id for event_id, _, _ in self._given],
            [diagnosis.bounce_class.value for _, diagnosis, _ in self._given],
            [diagnosis.is_hard for _, diagnosis, _ in self._given],
            [points for _, _, points in self._given],
        )
        await connection.execute(
            """
            UPDATE members m
            SET bounce_score = given.points, bounced_at = given.bounced_at,
                status = CASE WHEN given.because IS NULL THEN m.status ELSE 'held' END,
                held_at = CASE WHEN given.because IS NULL THEN m.held_at ELSE now() END,
                held_because = coalesce(given.because, m.held_because)
            FROM unnest($1::bigint[], $2::float[], $3::timestamptz[], $4::text[])
                 AS given (id, points, bounced_at, because)
            WHERE m.id = given.id
            """,
            list(self._scores),
            [each.points for each in self._scores.values()],
            [each.counted_at for each in self._scores.values()],
            [self.held.get(member_id) for member_id in self._scores],
        )


async def probe_is(connection: RawConnection, member_id: int, cause: str) -> None:
    """The notice of this cause is the member's probe: what bounces of it counts for the member."""
    await connection.execute(
        "UPDATE members SET probe_mailing_id = (SELECT mailing_id FROM notices WHERE cause = $2) WHERE id = $1",
        member_id,
        cause,
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
