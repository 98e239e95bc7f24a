"""What was set aside whole: deliveries whose nodes died five times, and payloads that nobody could handle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import asyncpg
from sqlalchemy import BigInteger, Column, Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection


class ParkedKind(StrEnum):
    """What was set aside."""

    DELIVERY = "delivery"
    #: A payload of the broker.
    PAYLOAD = "payload"


class Parked(SQLModel, table=True):
    """What was set aside, where it was, and why."""

    __tablename__ = "parked"
    __table_args__ = (
        Index("ix_parked_waiting", "id", postgresql_where=text("retried_at IS NULL")),
        # The same payload comes back for as long as its work is undone.
        Index(
            "ix_parked_body",
            "queue",
            text("sha256(body)"),
            postgresql_where=text("retried_at IS NULL AND kind = 'payload'"),
        ),
    )

    id: int = identity_field()
    kind: ParkedKind = Field(sa_column=Column(enum_type(ParkedKind, "parked_kind"), nullable=False))
    because: str
    #: How often the same was set aside.
    times: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    #: A payload: the queue that it came through, and the whole of it.
    queue: str | None = None
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    #: A delivery.
    delivery_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    mailing_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    mailing_created_at: datetime | None = moment_field(nullable=True)
    parked_at: datetime = moment_field(set_now=True)
    latest_at: datetime = moment_field(set_now=True)
    #: When somebody had it sent again.
    retried_at: datetime | None = moment_field(nullable=True)


async def keep_payload(connection: RawConnection, *, queue: str, because: str, body: bytes) -> None:
    """Keep a payload; one that is kept already is only counted again."""
    await connection.execute(
        """
        WITH known AS (
            UPDATE parked SET times = times + 1, latest_at = now(), because = $2
            WHERE id = (SELECT id FROM parked WHERE queue = $1 AND sha256(body) = sha256($3) AND kind = 'payload'
                        AND retried_at IS NULL ORDER BY id LIMIT 1)
            RETURNING id
        )
        INSERT INTO parked (kind, queue, because, body) SELECT 'payload', $1, $2, $3
        WHERE NOT EXISTS (SELECT FROM known)
        """,
        queue,
        because,
        body,
    )


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something that is still set aside."""

    id: int
    kind: ParkedKind
    because: str
    times: int
    queue: str | None
    body: bytes | None
    delivery_id: int | None
    mailing_id: int | None
    recipient: str | None
    parked_at: datetime
    latest_at: datetime


# A delivery that was sent again by its mailing, or delivered after all, is set aside no more.
_SET_ASIDE = """
SELECT p.id, p.kind, p.because, p.times, p.queue, p.body, p.delivery_id, p.mailing_id, d.recipient, p.parked_at,
       p.latest_at
FROM parked p LEFT JOIN LATERAL (
    SELECT recipient, state FROM deliveries
    WHERE id = p.delivery_id AND mailing_created_at = p.mailing_created_at LIMIT 1
) d ON true
WHERE p.retried_at IS NULL AND (p.kind = 'payload' OR d.state = 'parked')
"""


async def page(connection: RawConnection, *, after_id: int = 0, limit: int = 100) -> Sequence[SetAside]:
    """What is set aside, in the order it was, after `after_id`."""
    rows = await connection.fetch(f"{_SET_ASIDE} AND p.id > $1 ORDER BY p.id LIMIT $2", after_id, limit)
    return [_set_aside(row) for row in rows]


async def get(connection: RawConnection, parked_id: int) -> SetAside | None:
    row = await connection.fetchrow(f"{_SET_ASIDE} AND p.id = $1", parked_id)
    return _set_aside(row) if row else None


async def mark_retried(connection: RawConnection, parked_id: int) -> None:
    await connection.execute("UPDATE parked SET retried_at = now() WHERE id = $1", parked_id)


def _set_aside(row: asyncpg.Record) -> SetAside:
    return SetAside(**{**row, "kind": ParkedKind(row["kind"])})
