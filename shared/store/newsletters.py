"""Newsletters: what an author writes and plans. Each sending of one is a mailing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, ForeignKey, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel, col, select

from shared.core.newsletter import NewsletterState
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import Session
from shared.store.lists import MailingList
from shared.store.mailings import Mailing


class Newsletter(SQLModel, table=True):
    """A newsletter as it is now."""

    __tablename__ = "newsletters"

    id: int = identity_field()
    name: str
    state: NewsletterState = Field(sa_column=Column(enum_type(NewsletterState, "newsletter_state"), nullable=False))
    #: Whose members get it; the first list gives what its mailings take from a list.
    list_ids: list[int] = Field(sa_column=Column(ARRAY(BigInteger), nullable=False))
    #: The condition that members have to meet, as the API takes it.
    segment: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    #: Only who got this mailing and did not open it.
    unopened_of_mailing_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    #: Empty: the first list's name.
    from_name: str
    #: Null: the first list's posting address.
    from_address: str | None = None
    reply_to_address: str | None = None
    #: What it was begun with; the texts are its own.
    template_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("newsletter_templates.id", ondelete="SET NULL"))
    )
    subject: str
    preheader: str
    text: str
    html: str
    #: The task that sends it.
    task_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("tasks.id", ondelete="SET NULL")))
    not_after_at: datetime | None = moment_field(nullable=True)
    created_at: datetime = moment_field(set_now=True)
    #: When what is sent was changed, attachments included.
    updated_at: datetime = moment_field(set_now=True)
    approved_at: datetime | None = moment_field(nullable=True)


async def page(session: Session, *, before_id: int | None = None, limit: int = 100) -> Sequence[Newsletter]:
    """Newsletters, newest first, those with an id below `before_id`."""
    statement = select(Newsletter).order_by(col(Newsletter.id).desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(col(Newsletter.id) < before_id)
    return (await session.exec(statement)).all()


async def get(session: Session, newsletter_id: int, *, for_change: bool = False) -> Newsletter | None:
    """The newsletter, with `for_change` as the only one who changes it until the transaction ends."""
    return await session.get(Newsletter, newsletter_id, with_for_update=for_change)


async def mark_edited(session: Session, newsletter: Newsletter) -> None:
    """What is sent was changed: somebody has to look at it again before it is."""
    newsletter.state = NewsletterState.DRAFT
    newsletter.approved_at = None
    # By the clock, not by the transaction's begin: two edits never have one moment.
    newsletter.updated_at = (await session.exec(select(func.clock_timestamp()))).one()
    await session.flush()


async def lists_of(session: Session, newsletter: Newsletter) -> Sequence[MailingList]:
    """The lists it goes to, in its order."""
    found = (await session.exec(select(MailingList).where(col(MailingList.id).in_(newsletter.list_ids)))).all()
    by_id = {each.id: each for each in found}
    return [by_id[list_id] for list_id in newsletter.list_ids if list_id in by_id]


async def addresses_of_lists(session: Session, list_ids: Sequence[int]) -> dict[int, str]:
    """The posting addresses of lists, by number."""
    found = (await session.exec(select(MailingList).where(col(MailingList.id).in_(list_ids)))).all()
    return {each.id: each.address for each in found}


async def has_been_sent(session: Session, newsletter_id: int) -> bool:
    """Whether a mailing was made of it."""
    found = await session.exec(select(col(Mailing.id)).where(col(Mailing.newsletter_id) == newsletter_id).limit(1))
    return found.one_or_none() is not None
