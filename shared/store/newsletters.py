"""Newsletters: what an author writes and plans. Each sending of one is a mailing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, ForeignKey, Index, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.core.newsletter import NewsletterState
from shared.store.columns import enum_type, identity_field, moment_field


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
    from_name: str
    #: Null: the first list's posting address.
    from_address: str | None = None
    reply_to_address: str | None = None
    template_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("newsletter_templates.id")))
    subject: str
    preheader: str
    text: str
    html: str
    #: The task that sends it.
    task_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("tasks.id", ondelete="SET NULL")))
    not_after_at: datetime | None = moment_field(nullable=True)
    created_at: datetime = moment_field(set_now=True)
    updated_at: datetime = moment_field(set_now=True)
    approved_at: datetime | None = moment_field(nullable=True)


class NewsletterAttachment(SQLModel, table=True):
    """A file that goes with a newsletter, or an image that stands in its HTML (`content_id`, '' for none)."""

    __tablename__ = "newsletter_attachments"
    __table_args__ = (Index("ix_newsletter_attachments_newsletter_id", "newsletter_id"),)

    id: int = identity_field()
    newsletter_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("newsletters.id", ondelete="CASCADE"), nullable=False)
    )
    file_name: str
    content_type: str
    content_id: str
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
