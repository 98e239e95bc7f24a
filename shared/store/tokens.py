"""Bearer tokens of the API, stored as hashes only."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import LargeBinary, delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col

from shared.store.columns import moment_field
from shared.store.engine import Session


class ApiToken(SQLModel, table=True):
    """Tokens are long random strings, so a plain hash is enough: there is nothing to guess from it."""

    __tablename__ = "api_tokens"

    token_sha256: bytes = Field(primary_key=True, sa_type=LargeBinary)
    name: str
    created_at: datetime = moment_field(set_now=True)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def ensure(session: Session, token: str, *, name: str) -> None:
    """Let `token` in from now on; harmless when it is known."""
    await session.exec(insert(ApiToken).values(token_sha256=_digest(token), name=name).on_conflict_do_nothing())


async def retire_others(session: Session, token: str, *, name: str) -> None:
    """Let in no other token of this name any more."""
    await session.exec(delete(ApiToken).where(col(ApiToken.name) == name, col(ApiToken.token_sha256) != _digest(token)))


async def is_known(session: Session, token: str) -> bool:
    """Whether `token` may use the API. Looked up by its hash, so the time taken tells nothing about the token."""
    return await session.get(ApiToken, _digest(token)) is not None
