"""Deliveries, where those that have not ended stand, and the attempts at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, SmallInteger, UniqueConstraint, text
from sqlmodel import Field, SQLModel, col, select

from shared.core.delivery import DeliveryState, OutcomeKind
from shared.store.columns import enum_type, moment_field
from shared.store.engine import Session

_PARTITIONED = {"postgresql_partition_by": "RANGE (mailing_created_at)"}


class Delivery(SQLModel, table=True):
    """One mailing to one recipient. Written once and updated once, at its end, unless somebody has it sent again."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("mailing_id", "recipient_key", "mailing_created_at"),
        # The newsletters that a member got lately; posts, which are many more, are not in it.
        Index("ix_deliveries_member_id", "member_id", "mailing_created_at", postgresql_where=text("is_newsletter")),
        _PARTITIONED,
    )

    id: int = Field(sa_column=Column(BigInteger, primary_key=True, server_default=text("nextval('deliveries_id_seq')")))
    mailing_created_at: datetime = Field(sa_column=Column(moment_field().sa_column.type, primary_key=True))
    mailing_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    member_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    recipient: str
    recipient_key: str
    state: DeliveryState = Field(sa_column=Column(enum_type(DeliveryState, "delivery_state"), nullable=False))
    ended_at: datetime | None = moment_field(nullable=True)
    #: 1, and one more for each time somebody asked for it to be sent again.
    round: int = Field(default=1, sa_column=Column(SmallInteger, nullable=False, server_default="1"))
    is_newsletter: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class Outstanding(SQLModel, table=True):
    """A delivery that has not ended: waiting for its moment, or in a batch. The narrow table that changes."""

    __tablename__ = "outstanding"
    __table_args__ = (
        # Release takes what is due of a mailing; claims, outcomes and takeover find a batch's members.
        Index(
            "ix_outstanding_waiting",
            "mailing_id",
            "domain_limit",
            "due_at",
            "delivery_id",
            postgresql_where=text("batch_id IS NULL"),
        ),
        # Which limits have something waiting, and of which mailings: of limited recipients only.
        Index(
            "ix_outstanding_limited",
            "domain_limit",
            "mailing_id",
            "due_at",
            "delivery_id",
            postgresql_where=text("batch_id IS NULL AND domain_limit <> ''"),
        ),
        Index("ix_outstanding_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        Index("ix_outstanding_cancelled", "delivery_id", postgresql_where=text("is_cancelled")),
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": "0.02"}},
    )

    delivery_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    mailing_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    mailing_created_at: datetime = moment_field()
    batch_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    round: int = Field(default=1, sa_column=Column(SmallInteger, nullable=False, server_default="1"))
    attempt: int = Field(default=1, sa_column=Column(SmallInteger, nullable=False, server_default="1"))
    #: How many nodes died with this recipient in their hands.
    deaths: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    due_at: datetime = moment_field(set_now=True)
    #: The pattern of the domain limit that it is under, '' for none; whoever sends it knows better, and corrects it.
    domain_limit: str = Field(default="", sa_column_kwargs={"server_default": ""})
    #: Somebody cancelled it while it was in a batch: it ends as soon as it is in no node's hands.
    is_cancelled: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class Attempt(SQLModel, table=True):
    """One try, named by delivery, round and attempt, and what it came to."""

    __tablename__ = "attempts"
    __table_args__ = (_PARTITIONED,)

    delivery_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    round: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    attempt: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    mailing_created_at: datetime = Field(sa_column=Column(moment_field().sa_column.type, primary_key=True))
    batch_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    node_name: str
    outcome: OutcomeKind = Field(sa_column=Column(enum_type(OutcomeKind, "outcome_kind"), nullable=False))
    because: str
    reply_code: int | None = Field(default=None, sa_column=Column(SmallInteger))
    reply_text: str | None = None
    remote_host: str | None = None
    ended_at: datetime = moment_field(set_now=True)


async def get(session: Session, delivery_id: int, mailing_created_at: datetime) -> Delivery | None:
    return await session.get(Delivery, (delivery_id, mailing_created_at))


async def named(session: Session, delivery_ids: Sequence[int], mailing_created_at: datetime) -> Sequence[Delivery]:
    """These deliveries of one mailing, in the order of their normalised addresses."""
    statement = select(Delivery).where(
        col(Delivery.id).in_(delivery_ids), col(Delivery.mailing_created_at) == mailing_created_at
    )
    return (await session.exec(statement.order_by(col(Delivery.recipient_key)))).all()


async def attempts_of(session: Session, found: Sequence[Delivery]) -> Mapping[int, Sequence[Attempt]]:
    """The attempts at these deliveries, in order."""
    if not found:
        return {}
    statement = (
        select(Attempt)
        .where(
            col(Attempt.delivery_id).in_([delivery.id for delivery in found]),
            col(Attempt.mailing_created_at).in_({delivery.mailing_created_at for delivery in found}),
        )
        .order_by(col(Attempt.delivery_id), col(Attempt.round), col(Attempt.attempt))
    )
    grouped: dict[int, list[Attempt]] = {}
    for attempt in (await session.exec(statement)).all():
        grouped.setdefault(attempt.delivery_id, []).append(attempt)
    return grouped


async def outstanding_of(session: Session, found: Sequence[Delivery]) -> Mapping[int, Outstanding]:
    """Where the deliveries that have not ended stand."""
    statement = select(Outstanding).where(col(Outstanding.delivery_id).in_([delivery.id for delivery in found]))
    return {row.delivery_id: row for row in (await session.exec(statement)).all()}
