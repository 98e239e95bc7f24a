"""Requests to join a list, to leave it, or to have it in another way: asked, confirmed, approved, done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, text
from sqlmodel import Field, SQLModel, col, select

from shared.core.address import Address
from shared.core.subscription import RequestAction, RequestSource, RequestState
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Record, Session

#: How long a request may be confirmed.
CONFIRM_DAYS = 7
#: How long a request that has ended is remembered beyond that.
KEPT_DAYS = 30
#: The owners have so long to decide about a request.
DECIDED_WITHIN_DAYS = 90


class SubscriptionRequest(SQLModel, table=True):
    """What was asked for one address at one list."""

    __tablename__ = "subscription_requests"
    __table_args__ = (
        Index("ix_subscription_requests_pending", "list_id", "id", postgresql_where=text("state = 'pending'")),
        Index(
            "ix_subscription_requests_pending_email_key",
            "list_id",
            "email_key",
            postgresql_where=text("state = 'pending'"),
        ),
        # What nobody decided about for long.
        Index("ix_subscription_requests_pending_changed_at", "changed_at", postgresql_where=text("state = 'pending'")),
        Index(
            "ix_subscription_requests_publish_due_at",
            "publish_due_at",
            postgresql_where=text("publish_due_at IS NOT NULL"),
        ),
        Index("ix_subscription_requests_expires_at", "expires_at", postgresql_where=text("state <> 'pending'")),
    )

    id: int = identity_field()
    list_id: int = Field(sa_column=Column(BigInteger, ForeignKey("mailing_lists.id"), nullable=False))
    email: str
    email_key: str
    action: RequestAction = Field(sa_column=Column(enum_type(RequestAction, "request_action"), nullable=False))
    source: RequestSource = Field(sa_column=Column(enum_type(RequestSource, "request_source"), nullable=False))
    state: RequestState = Field(sa_column=Column(enum_type(RequestState, "request_state"), nullable=False))
    #: When `SubscriptionAsked` is to be published (again); `None` when a scheduler looked at it.
    publish_due_at: datetime | None = moment_field(nullable=True)
    #: It cannot be confirmed afterwards.
    expires_at: datetime = moment_field()
    #: When it came to its state.
    changed_at: datetime = moment_field(set_now=True)
    created_at: datetime = moment_field(set_now=True)


@dataclass(frozen=True, slots=True)
class Request:
    """A request, locked."""

    id: int
    list_id: int
    address: Address
    action: RequestAction
    source: RequestSource
    state: RequestState
    is_expired: bool


async def add(
    connection: RawConnection,
    list_id: int,
    address: Address,
    action: RequestAction,
    source: RequestSource,
    *,
    publish_after_seconds: float | None = None,
) -> Request:
    """The new request. With `publish_after_seconds` the sweep gives it to a scheduler when nobody else did by then."""
    request_id = await connection.fetchval(
        """
        INSERT INTO subscription_requests (list_id, email, email_key, action, source, state, publish_due_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, 'asked', now() + make_interval(secs => $6), now() + make_interval(days => $7))
        RETURNING id
        """,
        list_id,
        address.spelling,
        address.key,
        action.value,
        source.value,
        publish_after_seconds,
        CONFIRM_DAYS,
    )
    return Request(request_id, list_id, address, action, source, RequestState.ASKED, is_expired=False)


async def take(connection: RawConnection, request_id: int) -> Request | None:
    """The request, locked until the transaction ends."""
    row = await connection.fetchrow(
        "SELECT *, expires_at < now() AS is_expired FROM subscription_requests WHERE id = $1 FOR UPDATE", request_id
    )
    return None if row is None else _request(row)


async def look(connection: RawConnection, request_id: int) -> Request | None:
    """The request as it is now."""
    row = await connection.fetchrow(
        "SELECT *, expires_at < now() AS is_expired FROM subscription_requests WHERE id = $1", request_id
    )
    return None if row is None else _request(row)


async def move(connection: RawConnection, request_id: int, state: RequestState) -> None:
    """Put the request, which the caller has locked or made, into another state; a scheduler need not look at it."""
    await connection.execute(
        "UPDATE subscription_requests SET state = $2, changed_at = now(), publish_due_at = NULL WHERE id = $1",
        request_id,
        state.value,
    )


async def pending(
    session: Session, list_id: int, *, after_id: int = 0, limit: int = 100
) -> Sequence[SubscriptionRequest]:
    """Requests of the list that wait for its owners, oldest first."""
    statement = (
        select(SubscriptionRequest)
        .where(
            col(SubscriptionRequest.list_id) == list_id,
            col(SubscriptionRequest.state) == RequestState.PENDING,
            col(SubscriptionRequest.id) > after_id,
        )
        .order_by(col(SubscriptionRequest.id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def is_pending(connection: RawConnection, list_id: int, email_key: str) -> bool:
    """Whether the owners have a request of this address before them already."""
    return bool(
        await connection.fetchval(
            """
            SELECT true FROM subscription_requests
            WHERE list_id = $1 AND state = 'pending' AND email_key = $2 LIMIT 1
            """,
            list_id,
            email_key,
        )
    )


async def expire_pending(connection: RawConnection) -> None:
    """Drop some of the requests that nobody decided about in time."""
    await connection.execute(
        """
        UPDATE subscription_requests SET state = 'dropped', changed_at = now()
        WHERE id IN (SELECT id FROM subscription_requests
                     WHERE state = 'pending' AND changed_at < now() - make_interval(days => $1)
                     ORDER BY changed_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
        """,
        DECIDED_WITHIN_DAYS,
    )


async def publish_due(connection: RawConnection, *, limit: int = 500) -> Sequence[int]:
    """Requests that no scheduler looked at, though it is time."""
    rows = await connection.fetch(
        "SELECT id FROM subscription_requests WHERE publish_due_at < now() ORDER BY publish_due_at LIMIT $1", limit
    )
    return [row["id"] for row in rows]


async def mark_published(connection: RawConnection, request_ids: Sequence[int], *, again_after_seconds: float) -> None:
    """RabbitMQ has these; those that nobody looks at are due again after so long."""
    await connection.execute(
        """
        UPDATE subscription_requests SET publish_due_at = now() + make_interval(secs => $2)
        WHERE id IN (SELECT id FROM subscription_requests WHERE id = ANY($1) AND publish_due_at IS NOT NULL
                     ORDER BY id FOR UPDATE SKIP LOCKED)
        """,
        request_ids,
        again_after_seconds,
    )


async def forget(connection: RawConnection) -> None:
    """Forget the requests that ended long ago, or were never confirmed."""
    await connection.execute(
        """
        DELETE FROM subscription_requests
        WHERE state <> 'pending' AND expires_at < now() - make_interval(days => $1)
        """,
        KEPT_DAYS,
    )


def _request(row: Record) -> Request:
    return Request(
        id=row["id"],
        list_id=row["list_id"],
        address=Address.parse(row["email"]),
        action=RequestAction(row["action"]),
        source=RequestSource(row["source"]),
        state=RequestState(row["state"]),
        is_expired=row["is_expired"],
    )
