"""Mailings: one message going to many members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, Float, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, col, select

from shared.contracts.topology import Lane
from shared.core.digest import DigestFormat
from shared.core.mailing import MailingKind, MailingState
from shared.core.retry import GIVE_UP_AFTER_SECONDS
from shared.core.tracking import TrackingPolicy
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.copies import CopyColumns
from shared.store.engine import RawConnection, Session


class Mailing(CopyColumns, table=True):
    """One message to the members of one list, or, without a list, to one address."""

    __tablename__ = "mailings"
    __table_args__ = (
        # One per message and list; one per message for mail handed on to the operator.
        UniqueConstraint("message_id", "list_id", postgresql_nulls_not_distinct=True),
        # One per occurrence of a newsletter, however often a scheduler tries.
        UniqueConstraint("newsletter_id", "occurrence_at"),
        # One of each format; and a digest's posts.
        Index(
            "ix_mailings_digest_format",
            "digest_id",
            "digest_format",
            unique=True,
            postgresql_where=text("digest_format IS NOT NULL"),
        ),
        Index("ix_mailings_digest_id", "digest_id", postgresql_where=text("digest_id IS NOT NULL")),
        # The mailings that something is to be done for.
        Index("ix_mailings_lane_unfinished", "lane", postgresql_where=text("state <> 'finished'")),
        # Those of them that nothing of may start.
        Index(
            "ix_mailings_stopped",
            "id",
            postgresql_where=text("state <> 'finished' AND (is_paused OR cancelled_at IS NOT NULL)"),
        ),
        # What limits on newsletters count.
        Index("ix_mailings_created_at_newsletters", "created_at", postgresql_where=text("list_ids IS NOT NULL")),
        Index("ix_mailings_gives_up_at", "gives_up_at", postgresql_where=text("state <> 'finished'")),
        Index(
            "ix_mailings_not_after_at",
            "not_after_at",
            postgresql_where=text("state <> 'finished' AND not_after_at IS NOT NULL"),
        ),
    )

    id: int = identity_field()
    kind: MailingKind = Field(sa_column=Column(enum_type(MailingKind, "mailing_kind"), nullable=False))
    lane: Lane = Field(sa_column=Column(enum_type(Lane, "lane"), nullable=False))
    state: MailingState = Field(sa_column=Column(enum_type(MailingState, "mailing_state"), nullable=False))
    message_id: UUID = Field(sa_column=Column(ForeignKey("messages.id"), nullable=False))
    list_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("mailing_lists.id")))
    #: What it is a sending of, and which one.
    newsletter_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("newsletters.id")))
    occurrence_at: datetime | None = moment_field(nullable=True)
    #: The audience of a newsletter; null in other mailings, which go to the members of one list.
    list_ids: list[int] | None = Field(default=None, sa_column=Column(ARRAY(BigInteger)))
    segment: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    unopened_of_mailing_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    #: Of a post, the digest that it is collected in; of a digest's own mailing, the digest and its format.
    digest_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("digests.id")))
    digest_format: DigestFormat | None = Field(
        default=None, sa_column=Column(enum_type(DigestFormat, "digest_format"), nullable=True)
    )
    #: The domain of the return paths.
    return_domain: str
    subject: str = Field(default="")
    #: The list's settings when the mailing was made: whether merge fields count, whether each delivery has a return
    #: path of its own.
    personal: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    verp_enabled: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    #: What its list asked for when it was made, and what the author's domain published then: the copies are from the
    #: list's address.
    is_from_list: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: Each copy has a link of its own that ends the membership (RFC 8058).
    one_click: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: What its copies tell of being opened and of links that are followed; of links in plain text, too.
    tracking: TrackingPolicy = Field(
        default=TrackingPolicy.OFF,
        sa_column=Column(
            enum_type(TrackingPolicy, "tracking_policy"), nullable=False, server_default=TrackingPolicy.OFF.value
        ),
    )
    tracks_plain_text: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: Deliveries made so far, and how many of them were suppressed from the start.
    recipients: int = Field(default=0)
    suppressed: int = Field(default=0)
    #: The last member whose delivery is made.
    expanded_to_member_id: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    #: How many of `list_ids` have had all their members' deliveries made; the last member is one of the next.
    expanded_lists: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: When `ExpandMailing` is to be published (again); `None` when every delivery is made.
    expand_due_at: datetime | None = moment_field(nullable=True)
    is_paused: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    #: When somebody cancelled it; what had not ended by then ends as cancelled.
    cancelled_at: datetime | None = moment_field(nullable=True)
    #: No attempt begins after this moment; what has not ended by then expires.
    not_after_at: datetime | None = moment_field(nullable=True)
    #: The age at which its deliveries are given up, and the moment that follows from it: later when some of them are
    #: sent again.
    give_up_after_seconds: float = Field(
        default=GIVE_UP_AFTER_SECONDS, sa_column=Column(Float, nullable=False, server_default="432000")
    )
    gives_up_at: datetime = moment_field()
    #: The key of the partitions that hold its deliveries and attempts.
    created_at: datetime = moment_field(set_now=True)
    finished_at: datetime | None = moment_field(nullable=True)


async def page(session: Session, *, before_id: int | None = None, limit: int = 100) -> Sequence[Mailing]:
    """Mailings, newest first, those with an id below `before_id`."""
    statement = select(Mailing).order_by(col(Mailing.id).desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(col(Mailing.id) < before_id)
    return (await session.exec(statement)).all()


async def get(session: Session, mailing_id: int) -> Mailing | None:
    return await session.get(Mailing, mailing_id)


async def create(
    connection: RawConnection,
    *,
    kind: MailingKind,
    lane: Lane,
    message_id: UUID,
    list_id: int | None,
    return_domain: str,
    subject: str,
    expand_again_after_seconds: float,
    give_up_after_seconds: float = GIVE_UP_AFTER_SECONDS,
    has_strict_author: bool = False,
) -> int:
    """The id of the mailing of this message to this list, made now or before. Its partitions exist afterwards.

    Its list may say otherwise than `give_up_after_seconds`. `has_strict_author`: the author's domain publishes that
    mail which fails DMARC be set aside or refused, which matters where the list says so.
    """
    await ensure_partitions(connection)
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        INSERT INTO mailings (kind, lane, state, message_id, list_id, return_domain, subject, recipients, suppressed,
                              expanded_to_member_id, expand_due_at, give_up_after_seconds, gives_up_at,
                              personal, verp_enabled, one_click, subject_prefix, header_text, footer_text, reply_to,
                              reply_to_address, keeps_authors_reply_to, anonymous, is_from_list, tracking,
                              tracks_plain_text)
        SELECT $1, $2, 'expanding', $3, $4, $5, $6, 0, 0, 0, now() + make_interval(secs => $7),
               age.seconds, now() + make_interval(secs => age.seconds),
               coalesce(list.personal, false), coalesce(list.verp_enabled, true),
               coalesce(list.one_click_enabled AND list.verp_enabled, false),
               coalesce(list.subject_prefix, ''), coalesce(list.header_text, ''), coalesce(list.footer_text, ''),
               coalesce(list.reply_to, 'author'), list.reply_to_address, coalesce(list.keeps_authors_reply_to, true),
               coalesce(list.anonymous, false),
               coalesce(list.dmarc_mitigation = 'always' OR (list.dmarc_mitigation = 'when_published' AND $9), false),
               coalesce(list.tracking, 'off'), coalesce(list.tracks_plain_text, false)
        FROM (SELECT 1) AS one LEFT JOIN mailing_lists list ON list.id = $4,
             LATERAL (SELECT coalesce(list.give_up_after_seconds, $8) AS seconds) age
        ON CONFLICT (message_id, list_id) DO UPDATE SET subject = excluded.subject
        RETURNING id
        """,
        kind.value,
        lane.value,
        message_id,
        list_id,
        return_domain,
        subject,
        expand_again_after_seconds,
        give_up_after_seconds,
        has_strict_author,
    )


async def ensure_partitions(connection: RawConnection) -> None:
    """Make this month's partitions of deliveries and attempts if they are not there.

    A mailing's rows all live in the partition of the month it was created in, so that a purge drops whole tables.
    """
    month = await connection.fetchval("SELECT to_char(now(), 'YYYY_MM')")
    if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"attempts_{month}"):
        return
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('listfleet partitions'))")
    # A delivery is updated once: with room on its page, its indexes need no new entry.
    for table, fillfactor in (("deliveries", 80), ("attempts", 100)):
        # Names and bounds come from the database's own clock, never from outside.
        await connection.execute(
            f"""
            DO $$ BEGIN EXECUTE format(
                'CREATE TABLE IF NOT EXISTS {table}_{month} PARTITION OF {table} FOR VALUES FROM (%L) TO (%L)
                 WITH (fillfactor = {fillfactor})',
                date_trunc('month', now()), date_trunc('month', now()) + interval '1 month');
            END $$
            """
        )


async def finish(connection: RawConnection) -> Sequence[int]:
    """End the mailings in which nothing is outstanding, in the caller's transaction; their ids."""
    candidates = await connection.fetch(f"{_NOTHING_OUTSTANDING} FOR NO KEY UPDATE SKIP LOCKED")
    if not candidates:
        return []
    # Looked at again, now that nobody can have deliveries of them sent again at the same moment.
    rows = await connection.fetch(
        f"""
        UPDATE mailings SET state = 'finished', finished_at = now()
        WHERE id IN ({_NOTHING_OUTSTANDING} AND m.id = ANY($1)) RETURNING id
        """,
        [row["id"] for row in candidates],
    )
    return [row["id"] for row in rows]


_NOTHING_OUTSTANDING = """SELECT m.id FROM mailings m
WHERE m.state = 'running'
  -- Not NOT EXISTS: that may be planned as a walk through all that is outstanding, 79 ms instead of 0.1.
  AND (SELECT true FROM outstanding o WHERE o.mailing_id = m.id AND o.batch_id IS NULL LIMIT 1) IS NULL
  AND (SELECT true FROM batches b WHERE b.mailing_id = m.id AND b.state IN ('released', 'claimed') LIMIT 1) IS NULL"""
