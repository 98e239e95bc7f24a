"""Payloads that nobody could handle, kept whole."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, LargeBinary
from sqlmodel import Field, SQLModel

from shared.store.columns import identity_field, moment_field
from shared.store.engine import Session


class ParkedPayload(SQLModel, table=True):
    """What came through `queue` and why it was set aside."""

    __tablename__ = "parked_payloads"

    id: int = identity_field()
    queue: str
    because: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    parked_at: datetime = moment_field(set_now=True)


async def keep(session: Session, *, queue: str, because: str, body: bytes) -> None:
    session.add(ParkedPayload(queue=queue, because=because, body=body))
