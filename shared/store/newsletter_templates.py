"""Templates of newsletters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, SQLModel, col, select

from shared.store.columns import identity_field, moment_field
from shared.store.engine import Session


class NewsletterTemplate(SQLModel, table=True):
    """What newsletters begin with."""

    __tablename__ = "newsletter_templates"

    id: int = identity_field()
    name: str = Field(unique=True)
    subject: str
    preheader: str
    text: str
    html: str
    created_at: datetime = moment_field(set_now=True)
    updated_at: datetime = moment_field(set_now=True)


async def page(session: Session, *, after_id: int = 0, limit: int = 100) -> Sequence[NewsletterTemplate]:
    """Templates in the order they were made, those with an id above `after_id`."""
    statement = select(NewsletterTemplate).where(col(NewsletterTemplate.id) > after_id)
    return (await session.exec(statement.order_by(col(NewsletterTemplate.id)).limit(limit))).all()


async def get(session: Session, template_id: int, *, for_change: bool = False) -> NewsletterTemplate | None:
    return await session.get(NewsletterTemplate, template_id, with_for_update=for_change)


async def add(session: Session, values: Mapping[str, object]) -> NewsletterTemplate | None:
    """The new template; `None` when there is one of its name."""
    statement = insert(NewsletterTemplate).values(**values).on_conflict_do_nothing().returning(NewsletterTemplate)
    return (await session.exec(statement)).scalar_one_or_none()


async def change(session: Session, template: NewsletterTemplate, values: Mapping[str, object]) -> bool:
    """Set these columns; `False`, and the transaction is over, when another template has the name."""
    template.updated_at = (await session.exec(select(func.clock_timestamp()))).one()
    for name, value in values.items():
        setattr(template, name, value)
    try:
        await session.flush()
    except IntegrityError:
        return False
    return True
