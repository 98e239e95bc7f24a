"""Public names of the cluster and their addresses, as the operator states them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ARRAY, Column, Text, delete, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select

from shared.core.dns.plan import PublicHost
from shared.store.columns import moment_field
from shared.store.engine import Session


class DnsHost(SQLModel, table=True):
    """A public name, and what is reached or sends under it. Nothing else in the cluster goes by it."""

    __tablename__ = "dns_hosts"

    #: In A-labels, lower-case.
    host: str = Field(primary_key=True)
    #: As `str` writes an `ipaddress`.
    addresses: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    #: With it the host takes list mail.
    mx_preference: int | None = None
    is_tracking: bool
    is_sending: bool
    updated_at: datetime = moment_field(set_now=True)


async def all_hosts(session: Session) -> Sequence[DnsHost]:
    """By name."""
    return (await session.exec(select(DnsHost).order_by(col(DnsHost.host)))).all()


async def find(session: Session, host: str) -> DnsHost | None:
    return await session.get(DnsHost, host)


async def take_turns(session: Session) -> None:
    """Let one change at a time look at all hosts, until the transaction ends."""
    await session.exec(text("SELECT pg_advisory_xact_lock(hashtextextended('listfleet dns hosts', 0))"))  # type: ignore[call-overload]


async def put(session: Session, stated: PublicHost) -> DnsHost:
    """What is stated of the host, in the place of what was before."""
    values = {
        "addresses": list(stated.addresses),
        "mx_preference": stated.mx_preference,
        "is_tracking": stated.is_tracking,
        "is_sending": stated.is_sending,
    }
    statement = (
        insert(DnsHost)
        .values(host=stated.name, **values)
        .on_conflict_do_update(index_elements=["host"], set_={**values, "updated_at": func.now()})
        .returning(DnsHost)
    )
    row: DnsHost = (await session.exec(statement)).scalar_one()
    return row


async def remove(session: Session, host: str) -> bool:
    """Forget the host; whether there was one."""
    statement = delete(DnsHost).where(col(DnsHost.host) == host).returning(col(DnsHost.host))
    return (await session.exec(statement)).scalar_one_or_none() is not None
