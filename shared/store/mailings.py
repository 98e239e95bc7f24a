"""Mailings: one message going to many members, and the expansion into deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel, col, select

from shared.contracts.topology import Lane
from shared.core.mailing import MailingKind, MailingState
from shared.core.membership import PostingPolicy
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Session, fetch_one


class Mailing(SQLModel, table=True):
    """One message to the members of one list, or, without a list, to one address."""

    __tablename__ = "mailings"
    __table_args__ = (
        # One per message and list; one per message for mail handed on to the operator.
        UniqueConstraint("message_id", "list_id", postgresql_nulls_not_distinct=True),
        # The mailings that something is to be done for.
        Index("ix_mailings_lane_unfinished", "lane", postgresql_where=text("state <> 'finished'")),
    )

    id: int = identity_field()
    kind: MailingKind = Field(sa_column=Column(enum_type(MailingKind, "mailing_kind"), nullable=False))
    lane: Lane = Field(sa_column=Column(enum_type(Lane, "lane"), nullable=False))
    state: MailingState = Field(sa_column=Column(enum_type(MailingState, "mailing_state"), nullable=False))
    message_id: UUID = Field(sa_column=Column(ForeignKey("messages.id"), nullable=False))
    list_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("mailing_lists.id")))
    #: The domain of the return paths.
    return_domain: str
    subject: str = Field(default="")
    #: Deliveries made so far, and how many of them were suppressed from the start.
    recipients: int = Field(default=0)
    suppressed: int = Field(default=0)
    #: The last member whose delivery is made.
    expanded_to_member_id: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    #: When `ExpandMailing` is to be published (again); `None` when every delivery is made.
    expand_due_at: datetime | None = moment_field(nullable=True)
    #: The key of the partitions that hold its deliveries and attempts.
    created_at: datetime = moment_field(set_now=True)
    finished_at: datetime | None = moment_field(nullable=True)


@dataclass(frozen=True, slots=True)
class MailingContent:
    """What a node needs to compile a mailing's message."""

    content: bytes
    kind: MailingKind
    return_domain: str
    list_name: str | None
    list_domain: str | None
    list_display_name: str
    posting_policy: PostingPolicy | None
    message_uuid: UUID
    received_at: datetime


@dataclass(frozen=True, slots=True)
class MailingCounts:
    """How far a mailing is, summed over its batches."""

    delivered: int = 0
    refused: int = 0
    expired: int = 0
    parked: int = 0


async def page(session: Session, *, before_id: int | None = None, limit: int = 100) -> Sequence[Mailing]:
    """Mailings, newest first, those with an id below `before_id`."""
    statement = select(Mailing).order_by(col(Mailing.id).desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(col(Mailing.id) < before_id)
    return (await session.exec(statement)).all()


async def get(session: Session, mailing_id: int) -> Mailing | None:
    return await session.get(Mailing, mailing_id)


async def counts(session: Session, mailing_id: int) -> MailingCounts:
    """Sums of the batches' counters, so that no row is everybody's and no delivery is counted one by one."""
    connection = await session.connection()
    row = (
        await connection.execute(
            text(
                "SELECT coalesce(sum(delivered), 0), coalesce(sum(refused), 0), coalesce(sum(expired), 0),"
                " coalesce(sum(parked), 0) FROM batches WHERE mailing_id = :id"
            ),
            {"id": mailing_id},
        )
    ).one()
    return MailingCounts(*(int(value) for value in row))


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
) -> int:
    """The id of the mailing of this message to this list, made now or before. Its partitions exist afterwards."""
    await _ensure_partitions(connection)
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        INSERT INTO mailings (kind, lane, state, message_id, list_id, return_domain, subject, recipients, suppressed,
                              expanded_to_member_id, expand_due_at)
        VALUES ($1, $2, 'expanding', $3, $4, $5, $6, 0, 0, 0, now() + make_interval(secs => $7))
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
    )


async def _ensure_partitions(connection: RawConnection) -> None:
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


@dataclass(frozen=True, slots=True)
class ExpandedPage:
    """What one step of an expansion did."""

    lane: Lane
    is_last: bool
    recipients: int


async def expand_page(
    connection: RawConnection, mailing_id: int, *, page_size: int, expand_again_after_seconds: float
) -> ExpandedPage | None:
    """Make the deliveries of the next `page_size` members, in the caller's transaction.

    `None` when there is nothing to do; two at once take page after page in turn. Suppressed addresses get a delivery
    that has ended.
    """
    mailing = await connection.fetchrow(
        """
        SELECT lane, list_id, expanded_to_member_id FROM mailings
        WHERE id = $1 AND state = 'expanding' FOR NO KEY UPDATE
        """,
        mailing_id,
    )
    if mailing is None:
        return None
    done = await fetch_one(
        connection,
        """
        WITH page AS (
            SELECT * FROM members WHERE list_id = $2 AND id > $3 ORDER BY id LIMIT $4
        ), made AS (
            INSERT INTO deliveries
                   (mailing_id, mailing_created_at, member_id, recipient, recipient_key, state, ended_at)
            SELECT mailings.id, mailings.created_at, page.id, page.email, page.email_key,
                   CASE WHEN suppressions.email_key IS NULL THEN 'open' ELSE 'suppressed' END::delivery_state,
                   CASE WHEN suppressions.email_key IS NOT NULL THEN now() END
            FROM page JOIN mailings ON mailings.id = $1
            LEFT JOIN suppressions ON suppressions.email_key = page.email_key
                                  AND (suppressions.ends_at IS NULL OR suppressions.ends_at > now())
            WHERE page.status = 'subscribed' AND page.delivery_mode = 'mail'
            ORDER BY page.id
            ON CONFLICT DO NOTHING
            RETURNING id, mailing_created_at, state, recipient_key
        ), waiting AS (
            INSERT INTO outstanding (delivery_id, mailing_id, mailing_created_at, domain_limit)
            SELECT made.id, $1, made.mailing_created_at, coalesce(destinations.domain_limit, '')
            FROM made LEFT JOIN destinations ON destinations.domain = split_part(made.recipient_key, '@', -1)
            WHERE made.state = 'open'
        )
        SELECT (SELECT count(*) FROM page) AS members, (SELECT max(id) FROM page) AS last_member_id,
               (SELECT count(*) FROM made) AS recipients,
               (SELECT count(*) FROM made WHERE state = 'suppressed') AS suppressed
        """,
        mailing_id,
        mailing["list_id"],
        mailing["expanded_to_member_id"],
        page_size,
    )
    is_last = done["members"] < page_size
    await connection.execute(
        """
        UPDATE mailings
        SET recipients = recipients + $2, suppressed = suppressed + $3,
            expanded_to_member_id = coalesce($4, expanded_to_member_id),
            state = CASE WHEN $5 THEN 'running' ELSE 'expanding' END::mailing_state,
            expand_due_at = CASE WHEN NOT $5 THEN now() + make_interval(secs => $6) END
        WHERE id = $1
        """,
        mailing_id,
        done["recipients"],
        done["suppressed"],
        done["last_member_id"],
        is_last,
        expand_again_after_seconds,
    )
    return ExpandedPage(lane=Lane(mailing["lane"]), is_last=is_last, recipients=done["recipients"])


async def add_recipient(connection: RawConnection, mailing_id: int, *, email: str, email_key: str) -> None:
    """Give a mailing without a list its one recipient, waiting for release."""
    await connection.execute(
        """
        WITH made AS (
            INSERT INTO deliveries (mailing_id, mailing_created_at, recipient, recipient_key, state)
            SELECT id, created_at, $2, $3, 'open' FROM mailings WHERE id = $1
            ON CONFLICT DO NOTHING RETURNING id, mailing_created_at
        ), waiting AS (
            INSERT INTO outstanding (delivery_id, mailing_id, mailing_created_at, domain_limit)
            SELECT id, $1, mailing_created_at,
                   coalesce((SELECT domain_limit FROM destinations WHERE domain = split_part($3, '@', -1)), '')
            FROM made
        )
        UPDATE mailings SET state = 'running', recipients = 1, expand_due_at = NULL
        WHERE id = $1 AND EXISTS (SELECT FROM made)
        """,
        mailing_id,
        email,
        email_key,
    )


async def expand_due(connection: RawConnection, *, limit: int = 100) -> Sequence[int]:
    """Mailings whose expansion was never published, or stands still."""
    rows = await connection.fetch(
        "SELECT id FROM mailings WHERE state = 'expanding' AND expand_due_at < now() ORDER BY id LIMIT $1", limit
    )
    return [row["id"] for row in rows]


async def mark_expansion_published(
    connection: RawConnection, mailing_ids: Sequence[int], *, again_after_seconds: float
) -> None:
    """RabbitMQ has these; those that stand still are due again after so long."""
    await connection.execute(
        """
        UPDATE mailings SET expand_due_at = now() + make_interval(secs => $2)
        WHERE id IN (SELECT id FROM mailings WHERE id = ANY($1) AND state = 'expanding'
                     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
        """,
        mailing_ids,
        again_after_seconds,
    )


async def finish(connection: RawConnection) -> Sequence[int]:
    """End the mailings in which nothing is outstanding; their ids."""
    rows = await connection.fetch(
        """
        UPDATE mailings m SET state = 'finished', finished_at = now()
        WHERE m.state = 'running'
          -- Not NOT EXISTS: that may be planned as a walk through all that is outstanding, 79 ms instead of 0.1.
          AND (SELECT true FROM outstanding o WHERE o.mailing_id = m.id AND o.batch_id IS NULL LIMIT 1) IS NULL
          AND (SELECT true FROM batches b WHERE b.mailing_id = m.id AND b.state IN ('released', 'claimed')
               LIMIT 1) IS NULL
        RETURNING id
        """
    )
    return [row["id"] for row in rows]


async def content(connection: RawConnection, mailing_id: int) -> MailingContent | None:
    """The message of a mailing and what its list adds to it."""
    row = await connection.fetchrow(
        """
        SELECT messages.content, messages.id AS message_uuid, messages.received_at, mailings.kind,
               mailings.return_domain, lists.name, lists.domain, lists.display_name, lists.posting_policy
        FROM mailings JOIN messages ON messages.id = mailings.message_id
        LEFT JOIN mailing_lists lists ON lists.id = mailings.list_id
        WHERE mailings.id = $1
        """,
        mailing_id,
    )
    if row is None:
        return None
    return MailingContent(
        content=row["content"],
        kind=MailingKind(row["kind"]),
        return_domain=row["return_domain"],
        list_name=row["name"],
        list_domain=row["domain"],
        list_display_name=row["display_name"] or "",
        posting_policy=PostingPolicy(row["posting_policy"]) if row["posting_policy"] else None,
        message_uuid=row["message_uuid"],
        received_at=row["received_at"],
    )
