"""What a list has had lately: how many posts, and whether one of them was the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary
from sqlmodel import Field, SQLModel

from shared.store.columns import moment_field
from shared.store.engine import RawConnection, fetch_one
from shared.store.handling import Waiting

#: How long the same post is recognised.
DUPLICATE_DAYS = 7


class PostFingerprint(SQLModel, table=True):
    """A post that a list has had."""

    __tablename__ = "post_fingerprints"

    list_id: int = Field(sa_column=Column(BigInteger, ForeignKey("mailing_lists.id"), primary_key=True))
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    message_id: UUID
    seen_at: datetime = moment_field(set_now=True)


@dataclass(frozen=True, slots=True)
class PostsToday:
    """How many posts a list took within 24 hours, those that wait for its moderators included."""

    of_list: int
    #: Of the author, proven; and of somebody who says so.
    of_author: int
    of_stranger: int


async def posts_today(connection: RawConnection, list_id: int, author_key: str) -> PostsToday:
    """The counts of one list and one author."""
    row = await fetch_one(
        connection,
        """
        SELECT count(*), count(*) FILTER (WHERE author_key = $2), count(*) FILTER (WHERE author_key = '?' || $2)
        FROM message_targets
        WHERE list_id = $1 AND received_at > now() - interval '24 hours'
          AND kind = 'list' AND state IN ('received', 'distributed', 'held')
        """,
        list_id,
        author_key,
    )
    return PostsToday(*row)


async def first_of_its_kind(connection: RawConnection, list_id: int, message: Waiting) -> UUID:
    """The message that first brought this post to the list within seven days: this one, unless it is a duplicate."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        INSERT INTO post_fingerprints AS known (list_id, fingerprint, message_id) VALUES ($1, $2, $3)
        ON CONFLICT (list_id, fingerprint) DO UPDATE
           SET message_id = CASE WHEN known.seen_at < now() - make_interval(days => $4) THEN excluded.message_id
                                 ELSE known.message_id END,
               seen_at = CASE WHEN known.seen_at < now() - make_interval(days => $4) THEN now() ELSE known.seen_at END
        RETURNING message_id
        """,
        list_id,
        message.fingerprint,
        message.id,
        DUPLICATE_DAYS,
    )


async def take_turns(connection: RawConnection, message: Waiting) -> None:
    """Until the transaction ends nobody else distributes a message with this Message-ID, to whatever list.

    So of several at once the mailing with the lowest number is committed first, and the others see whom it reaches; and
    one of two that came to a list is the first. To be asked for before anything else about a post is locked.
    """
    if message.message_id:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", message.message_id)


async def same_by_another_way(connection: RawConnection, list_id: int, message: Waiting) -> UUID | None:
    """A message with this Message-ID that the list had within seven days, if one of the two came through a list."""
    if not message.message_id:
        return None
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        SELECT m.id FROM messages m JOIN message_targets t ON t.message_id = m.id
        WHERE m.message_id = $1 AND m.message_id <> '' AND m.id <> $2 AND t.list_id = $3 AND t.state = 'distributed'
          AND (m.came_through_a_list OR $4) AND m.received_at > now() - make_interval(days => $5)
        ORDER BY m.received_at LIMIT 1
        """,
        message.message_id,
        message.id,
        list_id,
        message.came_through_a_list,
        DUPLICATE_DAYS,
    )


async def forget_fingerprints(connection: RawConnection) -> None:
    """Forget the posts that are too old to be recognised."""
    await connection.execute(
        "DELETE FROM post_fingerprints WHERE seen_at < now() - make_interval(days => $1)", DUPLICATE_DAYS
    )
