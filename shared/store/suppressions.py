"""Addresses that nobody may mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Column
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
