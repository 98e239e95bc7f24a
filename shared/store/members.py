"""Members of lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel, col, select

from shared.core.membership import DeliveryMode, MemberRole, MemberStatus
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Session, fetch_one


class Member(SQLModel, table=True):
    """An address on a list: `email` as it was given, `email_key` normalised (case, IDN), unique on the list."""

    __tablename__ = "members"
    __table_args__ = (
        UniqueConstraint("list_id", "email_key"),
        # Expansion and paging walk a list in this order.
        Index("ix_members_list_id_id", "list_id", "id"),
    )

    id: int = identity_field()
    list_id: int = Field(sa_column=Column(BigInteger, ForeignKey("mailing_lists.id"), nullable=False))
    email: str
    email_key: str
    display_name: str = Field(default="")
    status: MemberStatus = Field(
        default=MemberStatus.SUBSCRIBED, sa_column=Column(enum_type(MemberStatus, "member_status"), nullable=False)
    )
    delivery_mode: DeliveryMode = Field(
        default=DeliveryMode.MAIL, sa_column=Column(enum_type(DeliveryMode, "delivery_mode"), nullable=False)
    )
    role: MemberRole = Field(
        default=MemberRole.MEMBER, sa_column=Column(enum_type(MemberRole, "member_role"), nullable=False)
    )
    fields: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    #: Posts go to the moderators first.
    is_moderated: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    joined_at: datetime = moment_field(set_now=True)


@dataclass(frozen=True, slots=True)
class NewMember:
    """A checked row of an import; `fields_json` is a JSON object."""

    email: str
    email_key: str
    display_name: str
    status: MemberStatus
    delivery_mode: DeliveryMode
    role: MemberRole
    fields_json: str


@dataclass(frozen=True, slots=True)
class UsedField:
    """A custom field that members of a list have."""

    name: str
    #: Whether some member's value is a text, and whether some member's is none (or an empty one).
    has_texts: bool
    has_others: bool


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """What became of the good rows of an import."""

    added: int
    updated: int
    #: Known as unsubscribed, held or suppressed: left as they are.
    left_alone: int


async def find(session: Session, list_id: int, email_key: str) -> Member | None:
    statement = select(Member).where(col(Member.list_id) == list_id, col(Member.email_key) == email_key)
    return (await session.exec(statement)).one_or_none()


async def add(session: Session, list_id: int, row: NewMember) -> Member | None:
    """The new member; `None` when the address is on the list already, whatever its status."""
    values = {
        "list_id": list_id,
        "email": row.email,
        "email_key": row.email_key,
        "display_name": row.display_name,
        "status": row.status,
        "delivery_mode": row.delivery_mode,
        "role": row.role,
        "fields": json.loads(row.fields_json),
    }
    statement = insert(Member).values(values).on_conflict_do_nothing().returning(Member)
    return (await session.exec(statement)).scalar_one_or_none()


async def page(session: Session, list_id: int, *, after_id: int = 0, limit: int = 100) -> Sequence[Member]:
    """Members in the order they were added, those with an id above `after_id`."""
    statement = (
        select(Member)
        .where(col(Member.list_id) == list_id, col(Member.id) > after_id)
        .order_by(col(Member.id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def used_fields(session: Session, list_id: int) -> Sequence[UsedField]:
    """The custom fields that a list's members have, by name."""
    statement = text(
        """
        SELECT key, bool_or(is_text) AS has_texts, bool_or(NOT is_text) AS has_others
        FROM members CROSS JOIN LATERAL (
            SELECT key, jsonb_typeof(value) = 'string' AND value <> '""' AS is_text FROM jsonb_each(fields)
        ) used
        WHERE list_id = :list_id GROUP BY key ORDER BY key
        """
    )
    connection = await session.connection()
    return [UsedField(*row) for row in (await connection.execute(statement, {"list_id": list_id})).all()]


async def wait_for_other_imports(connection: RawConnection, list_id: int) -> None:
    """Until the transaction ends nobody else imports into the list: two imports in different orders would deadlock."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('listfleet import', $1))", list_id)


async def import_rows(connection: RawConnection, list_id: int, rows: Sequence[NewMember]) -> ImportCounts:
    """Add or update `rows` (distinct by key) in one statement; who left, is held or suppressed stays so.

    An update takes over the row's spelling, name, fields, mode and role. A suppressed address is not added.
    """
    result = await fetch_one(
        connection,
        """
        WITH given AS (
            SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::member_status[], $6::delivery_mode[],
                                 $7::member_role[], $8::text[])
                   AS t (email, email_key, display_name, status, delivery_mode, role, fields)
        ), allowed AS (
            SELECT given.* FROM given
            WHERE NOT EXISTS (SELECT FROM suppressions s WHERE s.email_key = given.email_key
                              AND (s.ends_at IS NULL OR s.ends_at > now()))
        ), written AS (
            INSERT INTO members AS m
                   (list_id, email, email_key, display_name, status, delivery_mode, role, fields)
            SELECT $1, email, email_key, display_name, status, delivery_mode, role, fields::jsonb FROM allowed
            ON CONFLICT (list_id, email_key) DO UPDATE
               SET email = excluded.email, display_name = excluded.display_name, fields = excluded.fields,
                   delivery_mode = excluded.delivery_mode, role = excluded.role, status = excluded.status
             WHERE m.status = 'subscribed'
            RETURNING xmax = 0 AS is_new
        )
        SELECT count(*) FILTER (WHERE is_new) AS added, count(*) FILTER (WHERE NOT is_new) AS updated FROM written
        """,
        list_id,
        [row.email for row in rows],
        [row.email_key for row in rows],
        [row.display_name for row in rows],
        [row.status.value for row in rows],
        [row.delivery_mode.value for row in rows],
        [row.role.value for row in rows],
        [row.fields_json for row in rows],
    )
    added, updated = int(result["added"]), int(result["updated"])
    return ImportCounts(added=added, updated=updated, left_alone=len(rows) - added - updated)
