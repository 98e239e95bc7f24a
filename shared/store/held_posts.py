"""Held posts: each waits for one decision, and keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from shared.core.held_post import HeldDecision
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Record


class HeldPost(SQLModel, table=True):
    """A post that waits for a list's moderators, or did."""

    __tablename__ = "held_posts"
    __table_args__ = (
        UniqueConstraint("message_id", "address"),
        Index("ix_held_posts_undecided", "id", postgresql_where=text("decided_at IS NULL")),
        Index("ix_held_posts_list_id_id", "list_id", "id"),
    )

    id: int = identity_field()
    message_id: UUID = Field(sa_column=Column(ForeignKey("messages.id"), nullable=False))
    #: The target of the message that waits.
    address: str
    list_id: int = Field(sa_column=Column(BigInteger, ForeignKey("mailing_lists.id"), nullable=False))
    because: str
    #: The first address of the From field.
    author: str
    #: SPF or DKIM vouches for it: it may be written to.
    is_author_proven: bool
    held_at: datetime = moment_field(set_now=True)
    #: When the moderators were told again.
    reminded_at: datetime | None = moment_field(nullable=True)
    decision: HeldDecision | None = Field(
        default=None, sa_column=Column(enum_type(HeldDecision, "held_decision"), nullable=True)
    )
    decided_at: datetime | None = moment_field(nullable=True)
    decided_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    #: What the author is told, or why the operator's API was asked to.
    reason: str = Field(default="", sa_column_kwargs={"server_default": ""})


@dataclass(frozen=True, slots=True)
class Held:
    """A held post with what is needed to decide about it."""

    id: int
    message_id: UUID
    address: str
    list_id: int
    because: str
    author: str
    is_author_proven: bool
    subject: str
    size_bytes: int
    held_at: datetime
    decision: HeldDecision | None
    decided_at: datetime | None
    decided_by: str
    reason: str
    came_through_a_list: bool
    #: The list wants its authors to know.
    tells_author: bool
    list_address: str


_SELECT = """
SELECT h.id, h.message_id, h.address, h.list_id, h.because, h.author, h.is_author_proven, m.subject, m.size_bytes,
       h.held_at, h.decision, h.decided_at, h.decided_by, h.reason, m.came_through_a_list, l.tells_held_authors,
       l.name || '@' || l.domain
FROM held_posts h JOIN messages m ON m.id = h.message_id JOIN mailing_lists l ON l.id = h.list_id
"""


def _held(row: Record) -> Held:
    held = Held(*row)
    return held if held.decision is None else replace(held, decision=HeldDecision(held.decision))


async def page(
    connection: RawConnection, *, list_id: int | None, with_decided: bool, after_id: int, limit: int
) -> Sequence[Held]:
    """Held posts in the order they came, those with an id above `after_id`; of one list, or of all."""
    rows = await connection.fetch(
        f"""{_SELECT}
        WHERE h.id > $1 AND ($2::bigint IS NULL OR h.list_id = $2) AND ($3 OR h.decided_at IS NULL)
        ORDER BY h.id LIMIT $4
        """,
        after_id,
        list_id,
        with_decided,
        limit,
    )
    return [_held(row) for row in rows]


async def get(connection: RawConnection, held_id: int) -> Held | None:
    row = await connection.fetchrow(f"{_SELECT} WHERE h.id = $1", held_id)
    return _held(row) if row else None


async def undecided_of(connection: RawConnection, message_id: UUID) -> Sequence[Held]:
    """The lists' decisions that one message waits for."""
    rows = await connection.fetch(f"{_SELECT} WHERE h.message_id = $1 AND h.decided_at IS NULL", message_id)
    return [_held(row) for row in rows]


async def decide(
    connection: RawConnection, held_id: int, decision: HeldDecision, *, decided_by: str, reason: str
) -> Held | None:
    """The post as it is decided now; `None` when it was decided before, or is unknown.

    Approved, its message is to be handled (again): publish `MailReceived` after the commit, or the sweep does it.
    """
    decided = await connection.fetchval(
        """
        UPDATE held_posts SET decision = $2, decided_at = now(), decided_by = $3, reason = $4
        WHERE id = $1 AND decided_at IS NULL RETURNING id
        """,
        held_id,
        decision.value,
        decided_by,
        reason,
    )
    if decided is None:
        return None
    held = await get(connection, held_id)
    if held is None:
        raise LookupError(f"held post {held_id} has no message")
    await connection.execute(
        """
        UPDATE message_targets SET state = $3, because = $4
        WHERE message_id = $1 AND address = $2 AND state = 'held'
        """,
        held.message_id,
        held.address,
        decision.target_state.value,
        "" if decision is HeldDecision.APPROVED else reason or decision.value,
    )
    if decision is HeldDecision.APPROVED:
        await connection.execute(
            "UPDATE messages SET publish_due_at = now() + interval '5 s' WHERE id = $1", held.message_id
        )
    return held


async def ban(connection: RawConnection, list_id: int, email_key: str, *, at_most: int) -> bool:
    """Whether the address is among the list's banned ones now: not when there are `at_most` others."""
    return bool(
        await connection.fetchval(
            """
            UPDATE mailing_lists
            SET banned = CASE WHEN $2 = ANY(banned) THEN banned ELSE array_append(banned, $2) END
            WHERE id = $1 AND ($2 = ANY(banned) OR cardinality(banned) < $3) RETURNING true
            """,
            list_id,
            email_key,
            at_most,
        )
    )


async def moderators_of(connection: RawConnection, list_id: int) -> Sequence[str]:
    """The addresses of the list's moderators and owners, who may be reached."""
    rows = await connection.fetch(
        """
        SELECT email FROM members
        WHERE list_id = $1 AND role IN ('moderator', 'owner') AND status = 'subscribed' ORDER BY id LIMIT 50
        """,
        list_id,
    )
    return [row["email"] for row in rows]


async def to_remind(connection: RawConnection, *, after_hours: float, limit: int) -> Sequence[Held]:
    """Posts that have waited for so long and nobody was reminded of for as long; they count as reminded of now."""
    ids = await connection.fetch(
        """
        UPDATE held_posts SET reminded_at = now()
        WHERE id IN (SELECT id FROM held_posts WHERE decided_at IS NULL
                       AND coalesce(reminded_at, held_at) < now() - make_interval(secs => $1 * 3600)
                     ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id
        """,
        after_hours,
        limit,
    )
    rows = await connection.fetch(f"{_SELECT} WHERE h.id = ANY($1) ORDER BY h.id", [row["id"] for row in ids])
    return [_held(row) for row in rows]


async def too_old(connection: RawConnection, *, after_hours: float, limit: int) -> Sequence[int]:
    """Posts that nobody decided about for so long."""
    rows = await connection.fetch(
        """
        SELECT id FROM held_posts WHERE decided_at IS NULL AND held_at < now() - make_interval(secs => $1 * 3600)
        ORDER BY id LIMIT $2
        """,
        after_hours,
        limit,
    )
    return [row["id"] for row in rows]
