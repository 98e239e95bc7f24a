"""Keys that sign a domain's mail; the private halves are stored sealed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Column, Index, LargeBinary, UniqueConstraint, delete, func, or_, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select

from shared.core.dkim import DkimAlgorithm, DkimKeyState
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, Session

#: How long the record of a retired key stays in the DNS: mail is on its way for days.
PUBLISHED_AFTER_RETIRING = timedelta(days=7)


class DkimKey(SQLModel, table=True):
    """A key of one domain, known in the DNS by its selector."""

    __tablename__ = "dkim_keys"
    __table_args__ = (
        UniqueConstraint("domain", "selector"),
        # A domain signs with one key of each algorithm; the senders read these.
        Index("ix_dkim_keys_active", "domain", "algorithm", unique=True, postgresql_where=text("state = 'active'")),
    )

    id: int = identity_field()
    #: In A-labels, lower-case.
    domain: str
    selector: str
    algorithm: DkimAlgorithm = Field(sa_column=Column(enum_type(DkimAlgorithm, "dkim_algorithm"), nullable=False))
    state: DkimKeyState = Field(sa_column=Column(enum_type(DkimKeyState, "dkim_key_state"), nullable=False))
    #: PKCS #8 in DER, sealed.
    sealed_private_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    #: The text of the TXT record.
    record_text: str
    made_at: datetime = moment_field(set_now=True)
    #: When its record was last found in the DNS.
    checked_at: datetime | None = moment_field(nullable=True)
    activated_at: datetime | None = moment_field(nullable=True)
    retired_at: datetime | None = moment_field(nullable=True)

    @property
    def record_name(self) -> str:
        """The name of the TXT record (RFC 6376 §3.6.2.1)."""
        return record_name(self.domain, self.selector)


@dataclass(frozen=True, slots=True)
class ActiveKey:
    """What a sender needs of a key."""

    id: int
    domain: str
    selector: str
    sealed_private_key: bytes


def record_name(domain: str, selector: str) -> str:
    return f"{selector}._domainkey.{domain}"


async def add(
    session: Session,
    *,
    domain: str,
    selector: str,
    algorithm: DkimAlgorithm,
    sealed_private_key: bytes,
    record_text: str,
) -> DkimKey | None:
    """The new key; `None` when the domain has one with this selector already."""
    values = {
        "domain": domain,
        "selector": selector,
        "algorithm": algorithm,
        "state": DkimKeyState.MADE,
        "sealed_private_key": sealed_private_key,
        "record_text": record_text,
    }
    statement = insert(DkimKey).values(values).on_conflict_do_nothing().returning(DkimKey)
    return (await session.exec(statement)).scalar_one_or_none()


async def get(session: Session, key_id: int) -> DkimKey | None:
    return await session.get(DkimKey, key_id)


async def page(session: Session, *, domain: str | None, after_id: int = 0, limit: int = 100) -> Sequence[DkimKey]:
    """Keys in the order they were made, of one domain or of all, those with an id above `after_id`."""
    statement = select(DkimKey).where(col(DkimKey.id) > after_id).order_by(col(DkimKey.id)).limit(limit)
    if domain is not None:
        statement = statement.where(col(DkimKey.domain) == domain)
    return (await session.exec(statement)).all()


async def to_publish(session: Session) -> Sequence[DkimKey]:
    """Keys whose records are to stand in the DNS, in the order they were made: of a retired one as long as mail that it
    signed may be on its way."""
    statement = (
        select(DkimKey)
        .where(or_(col(DkimKey.retired_at).is_(None), col(DkimKey.retired_at) > func.now() - PUBLISHED_AFTER_RETIRING))
        .order_by(col(DkimKey.id))
    )
    return (await session.exec(statement)).all()


async def mark_checked(session: Session, key_id: int) -> DkimKey | None:
    """The record was found just now. A key that was only made may be used from now on."""
    key = await session.get(DkimKey, key_id, with_for_update=True)
    if key is not None:
        key.checked_at = await _now(session)
        key.state = DkimKeyState.CHECKED if key.state is DkimKeyState.MADE else key.state
    return key


async def activate(session: Session, key_id: int) -> DkimKey | None:
    """Sign with this key from now on, and no more with the one before of its domain and algorithm.

    `None`, and nothing is changed, when the key is not there or was never found in the DNS, or is retired.
    """
    key = await session.get(DkimKey, key_id)
    if key is None:
        return None
    # Two at once take turns: both would retire the one before, and the index refuses a second active one.
    await session.exec(
        text("SELECT pg_advisory_xact_lock(hashtextextended('listfleet dkim ' || :domain, 0))"),  # type: ignore[call-overload]
        params={"domain": key.domain},
    )
    await session.refresh(key, with_for_update=True)
    if key.state is DkimKeyState.ACTIVE:
        return key
    if key.state is not DkimKeyState.CHECKED:
        return None
    now = await _now(session)
    await session.exec(
        update(DkimKey)
        .where(
            col(DkimKey.domain) == key.domain,
            col(DkimKey.algorithm) == key.algorithm,
            col(DkimKey.state) == DkimKeyState.ACTIVE,
        )
        .values(state=DkimKeyState.RETIRED, retired_at=now)
    )
    key.state, key.activated_at = DkimKeyState.ACTIVE, now
    return key


async def retire(session: Session, key_id: int) -> DkimKey | None:
    """Sign with this key no more, whatever else there is; `None` when it is not there."""
    key = await session.get(DkimKey, key_id, with_for_update=True)
    if key is not None and key.state is not DkimKeyState.RETIRED:
        key.state, key.retired_at = DkimKeyState.RETIRED, await _now(session)
    return key


async def remove(session: Session, key_id: int) -> bool:
    """Forget a key that signs nothing now; whether there was one."""
    statement = (
        delete(DkimKey)
        .where(col(DkimKey.id) == key_id, col(DkimKey.state) != DkimKeyState.ACTIVE)
        .returning(col(DkimKey.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def active(connection: RawConnection, domain: str) -> Sequence[ActiveKey]:
    """The keys that mail of `domain` is signed with now, at most one of each algorithm."""
    rows = await connection.fetch(
        "SELECT id, domain, selector, sealed_private_key FROM dkim_keys"
        " WHERE domain = $1 AND state = 'active' ORDER BY algorithm",
        domain,
    )
    return [ActiveKey(*row) for row in rows]


async def is_signed(session: Session, domain: str) -> bool:
    """Whether mail of `domain` is signed now."""
    statement = select(col(DkimKey.id)).where(col(DkimKey.domain) == domain, col(DkimKey.state) == DkimKeyState.ACTIVE)
    return (await session.exec(statement.limit(1))).one_or_none() is not None


async def _now(session: Session) -> datetime:
    moment: datetime = (await session.exec(select(func.now()))).one()
    return moment
