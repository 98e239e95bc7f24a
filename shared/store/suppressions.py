"""Addresses that nobody may mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Column, Index, delete, func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select

from shared.store.columns import enum_type, moment_field
from shared.store.engine import Session


class SuppressionReason(StrEnum):
    """Why an address is suppressed."""

    HARD_BOUNCE = "hard_bounce"
    COMPLAINT = "complaint"
    #: The operator said so.
    MANUAL = "manual"


class Suppression(SQLModel, table=True):
    """One address, by its normalised form; without an end it is for ever."""

    __tablename__ = "suppressions"
    # The nodes read what is new with every sign of life.
    __table_args__ = (Index("ix_suppressions_created_at", "created_at"),)

    email_key: str = Field(primary_key=True)
    email: str
    reason: SuppressionReason = Field(
        sa_column=Column(enum_type(SuppressionReason, "suppression_reason"), nullable=False)
    )
    created_at: datetime = moment_field(set_now=True)
    ends_at: datetime | None = moment_field(nullable=True)


async def page(session: Session, *, after: str = "", limit: int = 100) -> Sequence[Suppression]:
    """Suppressions by normalised address, those after `after`."""
    statement = (
        select(Suppression).where(col(Suppression.email_key) > after).order_by(col(Suppression.email_key)).limit(limit)
    )
    return (await session.exec(statement)).all()


async def find(session: Session, email_key: str) -> Suppression | None:
    """The suppression that is in force for the address now."""
    statement = select(Suppression).where(
        col(Suppression.email_key) == email_key,
        or_(col(Suppression.ends_at).is_(None), col(Suppression.ends_at) > func.now()),
    )
    return (await session.exec(statement)).one_or_none()


async def put(
    session: Session, *, email: str, email_key: str, reason: SuppressionReason, ends_at: datetime | None
) -> Suppression:
    """Suppress the address from now on, in the place of what was said of it before."""
    values = {"email": email, "reason": reason, "ends_at": ends_at}
    statement = (
        insert(Suppression)
        .values(email_key=email_key, **values)
        .on_conflict_do_update(index_elements=["email_key"], set_={**values, "created_at": func.now()})
        .returning(Suppression)
    )
    suppression: Suppression = (await session.exec(statement)).scalar_one()
    return suppression


async def remove(session: Session, email_key: str) -> bool:
    """Let mail to the address go again; whether it was suppressed."""
    statement = delete(Suppression).where(col(Suppression.email_key) == email_key).returning(col(Suppression.email_key))
    return (await session.exec(statement)).scalar_one_or_none() is not None
