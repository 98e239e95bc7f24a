"""Templates of notices that the operator wrote anew: for one list, or for all that have none of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, UniqueConstraint, delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select

from shared.store.columns import identity_field, moment_field
from shared.store.engine import RawConnection, Record, Session


class NoticeTemplate(SQLModel, table=True):
    """What a notice says at one list; without a list, at all."""

    __tablename__ = "notice_templates"
    __table_args__ = (UniqueConstraint("name", "list_id", postgresql_nulls_not_distinct=True),)

    id: int = identity_field()
    name: str
    list_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("mailing_lists.id")))
    subject: str
    body: str
    updated_at: datetime = moment_field(set_now=True)


async def of_list(session: Session, list_id: int | None) -> Sequence[NoticeTemplate]:
    """Those written for the list; with `None`, those for all lists."""
    statement = select(NoticeTemplate).where(col(NoticeTemplate.list_id).is_not_distinct_from(list_id))
    return (await session.exec(statement.order_by(col(NoticeTemplate.name)))).all()


async def put(session: Session, list_id: int | None, name: str, *, subject: str, body: str) -> NoticeTemplate:
    """Write the template, in the place of what was written before."""
    values = {"subject": subject, "body": body, "updated_at": func.now()}
    statement = (
        insert(NoticeTemplate)
        .values(list_id=list_id, name=name, **values)
        .on_conflict_do_update(index_elements=["name", "list_id"], set_=values)
        .returning(NoticeTemplate)
    )
    written: NoticeTemplate = (await session.exec(statement)).scalar_one()
    return written


async def remove(session: Session, list_id: int | None, name: str) -> bool:
    """Let what stands above it hold again; whether it was there."""
    statement = (
        delete(NoticeTemplate)
        .where(col(NoticeTemplate.list_id).is_not_distinct_from(list_id), col(NoticeTemplate.name) == name)
        .returning(col(NoticeTemplate.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def in_force(connection: RawConnection, list_id: int, name: str) -> Record | None:
    """`subject` and `body` of the list's own, or else of that for all lists; `None` when nobody wrote one."""
    return await connection.fetchrow(
        """
        SELECT subject, body FROM notice_templates WHERE name = $2 AND (list_id = $1 OR list_id IS NULL)
        ORDER BY list_id NULLS LAST LIMIT 1
        """,
        list_id,
        name,
    )
