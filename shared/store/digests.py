"""Digests: which post is in which, and how far each is.

That a post is in one digest and no more is one column: `mailings.digest_id` of the post's mailing, written in the
transaction that distributes it, while nobody else writes about the list's digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from shared.contracts.topology import Lane
from shared.core.copies import ReplyToPolicy
from shared.core.digest import DigestFormat, DigestState, IssueNumber, is_full, number_after
from shared.core.mailing import MailingKind
from shared.core.membership import PostingPolicy
from shared.store import mailings
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, fetch_one

#: While posts or the first format are still being expanded, it is looked at again after so long.
LOOK_AGAIN_SECONDS = 1.0


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


class Pending(Enum):
    """What a digest waits for, other than that a format is made."""

    #: Its posts, or its first mailing, are still being expanded.
    EXPANSION = auto()
    #: Nothing any more.
    NOTHING = auto()


async def next_step(connection: RawConnection, digest_id: int) -> DigestFormat | Pending:
    """The format to be made now, in the caller's transaction, which nobody else looks at the digest in.

    Both mailings of a digest, and all of its posts', are expanded one after the other: so whoever changes the mode or
    the format meanwhile is in one of them.
    """
    digest = await connection.fetchrow(
        "SELECT list_id FROM digests WHERE id = $1 AND state = 'closed' FOR NO KEY UPDATE", digest_id
    )
    if digest is None:
        return Pending.NOTHING
    found = await fetch_one(
        connection,
        """
        SELECT count(*) FILTER (WHERE state = 'expanding' AND cancelled_at IS NULL) AS expanding,
               count(*) FILTER (WHERE digest_format IS NULL AND cancelled_at IS NULL) AS posts,
               coalesce(bool_or(digest_format = 'plain' OR (digest_format = 'mime' AND cancelled_at IS NOT NULL)),
                        false) AS has_all,
               max(id) FILTER (WHERE digest_format = 'mime') AS mime_id
        FROM mailings WHERE digest_id = $1
        """,
        digest_id,
    )
    if not found["posts"] or found["has_all"]:
        return Pending.NOTHING
    if found["expanding"]:
        return Pending.EXPANSION
    if found["mime_id"] is None and await _has_reader(connection, digest_id, DigestFormat.MIME, 0):
        return DigestFormat.MIME
    if await _has_reader(connection, digest_id, DigestFormat.PLAIN, found["mime_id"] or 0):
        return DigestFormat.PLAIN
    return Pending.NOTHING


#: Who gets a mailing, by its row and the member's. Each post goes to those who want mail and, if it is in no digest, to
#: readers of digests. A digest's first mailing goes to its readers who want MIME, the second to those who have not got
#: that one. Whoever chose mail since the digest was opened gets it too: posts in it may have been distributed before.
#: (A minute more, since a choice is committed a little after its moment.)
WANTS = """CASE
    WHEN {mailing}.digest_format IS NULL
    THEN {member}.delivery_mode = 'mail' OR ({member}.delivery_mode = 'digest' AND {mailing}.digest_id IS NULL)
    ELSE ({mailing}.digest_format = 'plain' OR {member}.digest_format = 'mime')
         AND ({member}.delivery_mode = 'digest' OR ({member}.delivery_mode = 'mail' AND {member}.left_digests_at > (
              SELECT opened_at - interval '1 minute' FROM digests WHERE id = {mailing}.digest_id)))
END"""


async def _has_reader(
    connection: RawConnection, digest_id: int, digest_format: DigestFormat, earlier_mailing_id: int
) -> bool:
    """Whether anybody is to get the digest in the format who did not get it by the earlier mailing."""
    wants = WANTS.format(mailing="mailing", member="reader")
    return await connection.fetchval(  # type: ignore[no-any-return]
        f"""
        SELECT EXISTS (
            SELECT FROM digests
            CROSS JOIN LATERAL (SELECT digests.id AS digest_id, $2::digest_format AS digest_format) mailing
            JOIN members reader ON reader.list_id = digests.list_id AND reader.status = 'subscribed'
                 AND (reader.delivery_mode = 'digest' OR reader.left_digests_at IS NOT NULL)
            WHERE digests.id = $1 AND {wants}
              AND NOT EXISTS (SELECT FROM deliveries d
                              WHERE d.mailing_id = $3 AND d.recipient_key = reader.email_key))
        """,
        digest_id,
        digest_format.value,
        earlier_mailing_id,
    )


async def posts_of(connection: RawConnection, digest_id: int) -> Sequence[int]:
    """The mailings of its posts, in the order they came; those that somebody cancelled are left out."""
    rows = await connection.fetch(
        """
        SELECT id FROM mailings WHERE digest_id = $1 AND digest_format IS NULL AND cancelled_at IS NULL ORDER BY id
        """,
        digest_id,
    )
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class IssueFacts:
    """What a digest says of itself and of its list."""

    number: IssueNumber
    list_id: int
    list_name: str
    list_domain: str
    list_display_name: str
    posting_policy: PostingPolicy
    header_text: str
    footer_text: str
    #: Merge fields count in these.
    is_personal: bool
    reply_to: ReplyToPolicy
    reply_to_address: str | None
    now: datetime


async def facts_of(connection: RawConnection, digest_id: int) -> IssueFacts:
    """The facts of a closed digest, as its list is now."""
    row = await fetch_one(
        connection,
        """
        SELECT volume, issue, l.id, l.name, l.domain, l.display_name, l.posting_policy, l.header_text, l.footer_text,
               l.personal, l.reply_to, l.reply_to_address, now() AS now
        FROM digests JOIN mailing_lists l ON l.id = digests.list_id WHERE digests.id = $1
        """,
        digest_id,
    )
    return IssueFacts(
        number=IssueNumber(row["volume"], row["issue"]),
        list_id=row["id"],
        list_name=row["name"],
        list_domain=row["domain"],
        list_display_name=row["display_name"],
        posting_policy=PostingPolicy(row["posting_policy"]),
        header_text=row["header_text"],
        footer_text=row["footer_text"],
        is_personal=row["personal"],
        reply_to=ReplyToPolicy(row["reply_to"]),
        reply_to_address=row["reply_to_address"],
        now=row["now"],
    )


@dataclass(frozen=True, slots=True)
class ComposedDigest:
    """A digest in one format, as it goes out."""

    message_uuid: UUID
    content: bytes
    subject: str
    format: DigestFormat


async def make_mailing(
    connection: RawConnection,
    digest_id: int,
    facts: IssueFacts,
    composed: ComposedDigest,
    *,
    expand_again_after_seconds: float,
    give_up_after_seconds: float,
) -> int:
    """The digest's mailing in this format, in the transaction that found that it is the next step."""
    await connection.execute(
        """
        INSERT INTO messages (id, content, size_bytes, envelope_sender, message_id, subject, fingerprint, peer)
        VALUES ($1, $2, $3, '', $4, $5, $6, '')
        """,
        composed.message_uuid,
        composed.content,
        len(composed.content),
        f"<{composed.message_uuid}@{facts.list_domain}>",
        composed.subject,
        hashlib.sha256(composed.content).digest(),
    )
    mailing_id = await mailings.create(
        connection,
        kind=MailingKind.DIGEST,
        lane=Lane.BULK,
        message_id=composed.message_uuid,
        list_id=facts.list_id,
        return_domain=facts.list_domain,
        subject=composed.subject,
        expand_again_after_seconds=expand_again_after_seconds,
        give_up_after_seconds=give_up_after_seconds,
    )
    # What the authors wrote is not the list's to fill in.
    await connection.execute(
        "UPDATE mailings SET digest_id = $2, digest_format = $3, personal = false WHERE id = $1",
        mailing_id,
        digest_id,
        composed.format.value,
    )
    await look_again(connection, digest_id, after_seconds=LOOK_AGAIN_SECONDS)
    return mailing_id


async def look_again(connection: RawConnection, digest_id: int, *, after_seconds: float) -> None:
    """`MakeDigest` is due again after so long, unless it is made by then."""
    await connection.execute(
        "UPDATE digests SET publish_due_at = now() + make_interval(secs => $2) WHERE id = $1 AND state = 'closed'",
        digest_id,
        after_seconds,
    )


async def end(connection: RawConnection, digest_id: int) -> None:
    """Nothing is left to be done for the digest."""
    await connection.execute(
        "UPDATE digests SET state = 'made', made_at = now(), publish_due_at = NULL WHERE id = $1 AND state = 'closed'",
        digest_id,
    )


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
