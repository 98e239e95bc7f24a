"""What is demanded of connections to the mail servers of which domains."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Column, delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select

from shared.core.tls_policy import TlsPolicy
from shared.store.columns import enum_type, moment_field
from shared.store.engine import Session


class DomainTlsPolicy(SQLModel, table=True):
    """One pattern (`example.com`, `*.example.com`, `*`) and its policy. Every node reads all of them, and often."""

    __tablename__ = "tls_policies"

    #: In A-labels, lower-case.
    domain: str = Field(primary_key=True)
    policy: TlsPolicy = Field(sa_column=Column(enum_type(TlsPolicy, "tls_policy"), nullable=False))
    updated_at: datetime = moment_field(set_now=True)


async def page(session: Session, *, after: str = "", limit: int = 100) -> Sequence[DomainTlsPolicy]:
    """Policies by domain, those after `after`."""
    statement = (
        select(DomainTlsPolicy)
        .where(col(DomainTlsPolicy.domain) > after)
        .order_by(col(DomainTlsPolicy.domain))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def find(session: Session, domain: str) -> DomainTlsPolicy | None:
    return await session.get(DomainTlsPolicy, domain)


async def count(session: Session) -> int:
    return (await session.exec(select(func.count()).select_from(DomainTlsPolicy))).one()


async def put(session: Session, domain: str, policy: TlsPolicy) -> DomainTlsPolicy:
    """The policy of `domain` from now on."""
    statement = (
        insert(DomainTlsPolicy)
        .values(domain=domain, policy=policy)
        .on_conflict_do_update(index_elements=["domain"], set_={"policy": policy, "updated_at": func.now()})
        .returning(DomainTlsPolicy)
    )
    policy_of_domain: DomainTlsPolicy = (await session.exec(statement)).scalar_one()
    return policy_of_domain


async def remove(session: Session, domain: str) -> bool:
    """Forget the policy; whether there was one."""
    domain_column = col(DomainTlsPolicy.domain)
    statement = delete(DomainTlsPolicy).where(domain_column == domain).returning(domain_column)
    return (await session.exec(statement)).scalar_one_or_none() is not None
