"""Members of lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, UniqueConstraint, func, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel, col, select

from shared.core.address import Address
from shared.core.digest import DigestFormat
from shared.core.membership import DeliveryMode, MemberRole, MemberStatus
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Record, Session


class Member(SQLModel, table=True):
    """An address on a list: `email` as it was given, `email_key` normalised (case, IDN), unique on the list."""

    __tablename__ = "members"
    __table_args__ = (
        UniqueConstraint("list_id", "email_key"),
        # Expansion and paging walk a list in this order.
        Index("ix_members_list_id_id", "list_id", "id"),
        # Which lists an address is on.
        Index("ix_members_email_key", "email_key"),
        # Whom a probe was sent to.
        Index("ix_members_probe_mailing_id", "probe_mailing_id", postgresql_where=text("probe_mailing_id IS NOT NULL")),
        # Readers of digests, and who was one.
        Index(
            "ix_members_digest",
            "list_id",
            postgresql_where=text("delivery_mode = 'digest' OR left_digests_at IS NOT NULL"),
        ),
        # Whom to remind that it is held.
        Index(
            "ix_members_held_told_at",
            text("coalesce(held_reminded_at, held_at, joined_at)"),
            postgresql_where=text("status = 'held'"),
        ),
        Index("ix_members_list_id_role", "list_id", postgresql_where=text("role <> 'member'")),
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
    digest_format: DigestFormat = Field(
        default=DigestFormat.MIME,
        sa_column=Column(
            enum_type(DigestFormat, "digest_format"), nullable=False, server_default=DigestFormat.MIME.value
        ),
    )
    #: When it last chose something else than digests: what was collected by then comes all the same.
    left_digests_at: datetime | None = moment_field(nullable=True)
    role: MemberRole = Field(
        default=MemberRole.MEMBER, sa_column=Column(enum_type(MemberRole, "member_role"), nullable=False)
    )
    fields: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    #: Posts go to the moderators first.
    is_moderated: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    joined_at: datetime = moment_field(set_now=True)
    #: Points of bounces (`shared.core.bounce_score`), and when the last of them was given.
    bounce_score: float = Field(default=0.0, sa_column_kwargs={"server_default": text("0")})
    bounced_at: datetime | None = moment_field(nullable=True)
    #: When the score reached the list's limit, and what the last bounce said.
    held_at: datetime | None = moment_field(nullable=True)
    held_because: str | None = None
    #: How often it was told again since, and when.
    held_reminders: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    held_reminded_at: datetime | None = moment_field(nullable=True)
    #: The mail that shows, before the member is held, whether mail arrives.
    probe_mailing_id: int | None = Field(default=None, sa_column=Column(BigInteger))

    def let_in(self) -> None:
        """A subscriber from now on, and nothing is held against it any more."""
        self.status = MemberStatus.SUBSCRIBED
        self.bounce_score, self.bounced_at, self.held_at, self.held_because = 0.0, None, None, None
        self.held_reminders, self.held_reminded_at = 0, None
        self.probe_mailing_id = None


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


async def find(session: Session, list_id: int, email_key: str) -> Member | None:
    statement = select(Member).where(col(Member.list_id) == list_id, col(Member.email_key) == email_key)
    return (await session.exec(statement)).one_or_none()


async def get(session: Session, member_id: int) -> Member | None:
    return await session.get(Member, member_id)


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


@dataclass(frozen=True, slots=True)
class Membership:
    """What a member decides about."""

    id: int
    list_id: int
    address: Address
    status: MemberStatus
    delivery_mode: DeliveryMode
    digest_format: DigestFormat


_MEMBERSHIP = "SELECT id, list_id, email, status, delivery_mode, digest_format FROM members"


async def membership(connection: RawConnection, list_id: int, email_key: str) -> Membership | None:
    """The address on the list, whatever its status, locked until the transaction ends."""
    row = await connection.fetchrow(
        f"{_MEMBERSHIP} WHERE list_id = $1 AND email_key = $2 FOR NO KEY UPDATE", list_id, email_key
    )
    return None if row is None else _membership(row)


async def membership_of(connection: RawConnection, member_id: int) -> Membership | None:
    """The member with this id, locked until the transaction ends."""
    row = await connection.fetchrow(f"{_MEMBERSHIP} WHERE id = $1 FOR NO KEY UPDATE", member_id)
    return None if row is None else _membership(row)


async def join(connection: RawConnection, list_id: int, address: Address) -> None:
    """Make the address a subscribed member, whatever it was; a member who comes back gets the posts by mail."""
    await connection.execute(
        """
        INSERT INTO members AS m (list_id, email, email_key, display_name, status, delivery_mode, role)
        VALUES ($1, $2, $3, '', 'subscribed', 'mail', 'member')
        ON CONFLICT (list_id, email_key) DO UPDATE
           SET status = 'subscribed', joined_at = now(), bounce_score = 0, bounced_at = NULL, held_at = NULL,
               held_because = NULL, held_reminders = 0, held_reminded_at = NULL, probe_mailing_id = NULL,
               delivery_mode = CASE WHEN m.status = 'unsubscribed' THEN 'mail' ELSE m.delivery_mode END
         WHERE m.status <> 'subscribed'
        """,
        list_id,
        address.spelling,
        address.key,
    )


async def leave(connection: RawConnection, member_id: int) -> None:
    """Let the member be one no more. What is open to it is the caller's to stop (`leaving`)."""
    await connection.execute(
        "UPDATE members SET status = 'unsubscribed' WHERE id = $1 AND status <> 'unsubscribed'", member_id
    )


async def set_mode(
    connection: RawConnection, member_id: int, mode: DeliveryMode, digest_format: DigestFormat | None = None
) -> None:
    """How posts come from the next mailing on, and, unless it is left as it is, what digests look like."""
    await connection.execute(
        f"""
        UPDATE members m SET delivery_mode = $2, digest_format = coalesce($3, digest_format),
                             left_digests_at = {LEFT_DIGESTS_AT.format(mode="$2::delivery_mode")}
        WHERE id = $1
        """,
        member_id,
        mode.value,
        digest_format.value if digest_format else None,
    )


async def note_that_digests_end(session: Session, member: Member) -> None:
    """The member, who reads digests, will not from this transaction on."""
    await session.exec(
        update(Member)
        .where(col(Member.id) == member.id)
        .values(left_digests_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )


# Not the transaction's moment, which may lie before that of a post.
LEFT_DIGESTS_AT = (
    "CASE WHEN m.delivery_mode = 'digest' AND {mode} <> 'digest' THEN clock_timestamp() ELSE m.left_digests_at END"
)


async def owners(connection: RawConnection, list_id: int, *, limit: int = 20) -> Sequence[Address]:
    """Who decides about the list: its owners, or else its moderators."""
    rows = await connection.fetch(
        """
        SELECT email, role FROM members
        WHERE list_id = $1 AND role <> 'member' AND status = 'subscribed' ORDER BY role DESC, id LIMIT $2
        """,
        list_id,
        limit,
    )
    of_owners = [row["email"] for row in rows if row["role"] == MemberRole.OWNER]
    return [Address.parse(email) for email in of_owners or [row["email"] for row in rows]]


async def lists_of(connection: RawConnection, email_key: str) -> Sequence[tuple[str, DeliveryMode]]:
    """The addresses of the lists that the address is a member of, at most a hundred, and how they come."""
    rows = await connection.fetch(
        """
        SELECT lists.name || '@' || lists.domain AS address, members.delivery_mode
        FROM members JOIN mailing_lists lists ON lists.id = members.list_id
        WHERE members.email_key = $1 AND members.status <> 'unsubscribed' ORDER BY 1 LIMIT 100
        """,
        email_key,
    )
    return [(row["address"], DeliveryMode(row["delivery_mode"])) for row in rows]


def _membership(row: Record) -> Membership:
    return Membership(
        id=row["id"],
        list_id=row["list_id"],
        address=Address.parse(row["email"]),
        status=MemberStatus(row["status"]),
        delivery_mode=DeliveryMode(row["delivery_mode"]),
        digest_format=DigestFormat(row["digest_format"]),
    )


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
