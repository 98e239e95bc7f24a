"""Digests: which post is in which, and how far each is.

That a post is in one digest and no more is one column: `mailings.digest_id` of the post's mailing, written in the
transaction that distributes it, while nobody else writes about the list's digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from shared.core.digest import DigestState, IssueNumber, is_full, number_after
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, fetch_one


class Digest(SQLModel, table=True):
    """One issue of a list's digest."""

    __tablename__ = "digests"
    __table_args__ = (
        Index("ix_digests_collecting", "list_id", unique=True, postgresql_where=text("state = 'collecting'")),
        Index("ix_digests_publish_due_at", "publish_due_at", postgresql_where=text("publish_due_at IS NOT NULL")),
        UniqueConstraint("list_id", "volume", "issue"),
    )

    id: int = identity_field()
    list_id: int = Field(sa_column=Column(BigInteger, ForeignKey("mailing_lists.id"), nullable=False))
    state: DigestState = Field(sa_column=Column(enum_type(DigestState, "digest_state"), nullable=False))
    posts: int = 0
    #: Of the posts as they came.
    size_bytes: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    #: Once it is closed.
    volume: int | None = None
    issue: int | None = None
    #: When `MakeDigest` is to be published (again); `None` while it collects, and once it is made.
    publish_due_at: datetime | None = moment_field(nullable=True)
    #: When its first post came.
    opened_at: datetime = moment_field(set_now=True)
    closed_at: datetime | None = moment_field(nullable=True)
    made_at: datetime | None = moment_field(nullable=True)


@dataclass(frozen=True, slots=True)
class ClosedDigest:
    """An issue that no post joins any more."""

    id: int
    number: IssueNumber
    posts: int


@dataclass(frozen=True, slots=True)
class KnownDigest:
    """A digest as it is shown."""

    id: int
    state: DigestState
    volume: int | None
    issue: int | None
    posts: int
    size_bytes: int
    mailing_ids: Sequence[int]
    opened_at: datetime
    closed_at: datetime | None
    made_at: datetime | None


async def page(
    connection: RawConnection, list_id: int, *, before_id: int | None = None, limit: int = 100
) -> Sequence[KnownDigest]:
    """A list's digests, newest first, those with an id below `before_id`."""
    rows = await connection.fetch(
        """
        SELECT id, state, volume, issue, posts, size_bytes, ARRAY(
                   SELECT m.id FROM mailings m WHERE m.digest_id = digests.id AND m.digest_format IS NOT NULL
                   ORDER BY m.id) AS mailing_ids, opened_at, closed_at, made_at
        FROM digests WHERE list_id = $1 AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """,
        list_id,
        before_id,
        limit,
    )
    return [KnownDigest(**{**row, "state": DigestState(row["state"])}) for row in rows]


async def collect(connection: RawConnection, list_id: int, mailing_id: int) -> None:
    """Put the post of this mailing into its list's next digest, in the transaction that makes the mailing; a list whose
    digests are off, or have no reader, collects nothing. A digest that has its size by then is closed.

    What is collected goes to those who want mail only; what is not goes to readers of digests, too.
    """
    wanted = await connection.fetchrow(
        """
        SELECT l.digest_size_bytes, messages.size_bytes
        FROM mailing_lists l, mailings JOIN messages ON messages.id = mailings.message_id
        WHERE l.id = $1 AND mailings.id = $2 AND mailings.digest_id IS NULL AND l.digests_enabled
          AND (SELECT true FROM members WHERE list_id = l.id AND delivery_mode = 'digest' AND status = 'subscribed'
               LIMIT 1)
        """,
        list_id,
        mailing_id,
    )
    if wanted is None:
        return
    await _lock(connection, list_id)
    opened = await connection.fetchrow(
        "SELECT posts, size_bytes FROM digests WHERE list_id = $1 AND state = 'collecting'", list_id
    )
    if opened is not None and is_full(opened["posts"], opened["size_bytes"], wanted["size_bytes"]):
        await _close(connection, list_id)
    size_bytes = await connection.fetchval(
        """
        WITH joined AS (
            INSERT INTO digests (list_id, state, posts, size_bytes) VALUES ($1, 'collecting', 1, $3)
            ON CONFLICT (list_id) WHERE state = 'collecting'
            DO UPDATE SET posts = digests.posts + 1, size_bytes = digests.size_bytes + excluded.size_bytes
            RETURNING id, size_bytes
        )
        UPDATE mailings SET digest_id = joined.id FROM joined WHERE mailings.id = $2 RETURNING joined.size_bytes
        """,
        list_id,
        mailing_id,
        wanted["size_bytes"],
    )
    if wanted["digest_size_bytes"] is not None and size_bytes >= wanted["digest_size_bytes"]:
        await _close(connection, list_id)


async def close(connection: RawConnection, list_id: int) -> ClosedDigest | None:
    """Close what the list has collected; `None` when that is nothing. The sweep has it made."""
    await _lock(connection, list_id)
    return await _close(connection, list_id)


async def turned_off(connection: RawConnection) -> Sequence[int]:
    """Lists that collected posts and had their digests turned off since."""
    rows = await connection.fetch(
        """
        SELECT list_id FROM digests JOIN mailing_lists l ON l.id = digests.list_id
        WHERE digests.state = 'collecting' AND NOT l.digests_enabled ORDER BY list_id LIMIT 100
        """
    )
    return [row["list_id"] for row in rows]


async def _lock(connection: RawConnection, list_id: int) -> None:
    """Until the transaction ends, nobody else collects for the list or closes what it collected."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('listfleet digests', $1))", list_id)


async def _close(connection: RawConnection, list_id: int) -> ClosedDigest | None:
    last = await fetch_one(
        connection,
        """
        SELECT now() AS now, volume, issue, closed_at FROM (SELECT 1) AS one LEFT JOIN (
            SELECT volume, issue, closed_at FROM digests WHERE list_id = $1 AND volume IS NOT NULL
            ORDER BY volume DESC, issue DESC LIMIT 1) last ON true
        """,
        list_id,
    )
    last_number = None if last["volume"] is None else IssueNumber(last["volume"], last["issue"])
    number = number_after(last_number, last["closed_at"], last["now"])
    row = await connection.fetchrow(
        """
        UPDATE digests SET state = 'closed', volume = $2, issue = $3, closed_at = now(), publish_due_at = now()
        WHERE list_id = $1 AND state = 'collecting' RETURNING id, posts
        """,
        list_id,
        number.volume,
        number.issue,
    )
    return None if row is None else ClosedDigest(row["id"], number, row["posts"])


async def publish_due(connection: RawConnection, *, limit: int = 100) -> Sequence[int]:
    """Digests whose `MakeDigest` is due."""
    rows = await connection.fetch(
        "SELECT id FROM digests WHERE publish_due_at < now() ORDER BY publish_due_at, id LIMIT $1", limit
    )
    return [row["id"] for row in rows]


async def mark_published(connection: RawConnection, digest_ids: Sequence[int], *, again_after_seconds: float) -> None:
    """RabbitMQ has these; those that nobody made are due again after so long."""
    await connection.execute(
        """
        UPDATE digests SET publish_due_at = now() + make_interval(secs => $2)
        WHERE id IN (SELECT id FROM digests WHERE id = ANY($1) AND publish_due_at < now()
                     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
        """,
        digest_ids,
        again_after_seconds,
    )
