"""Files that go with newsletters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, delete, text
from sqlmodel import Field, SQLModel, col, select

from shared.store.columns import identity_field
from shared.store.engine import Session


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


@dataclass(frozen=True, slots=True)
class AttachmentRow:
    """What is said of an attachment; its content may be large."""

    id: int
    file_name: str
    content_type: str
    content_id: str
    size_bytes: int


async def rows(session: Session, newsletter_id: int) -> list[AttachmentRow]:
    """A newsletter's attachments, in the order they were added."""
    statement = text(
        """
        SELECT id, file_name, content_type, content_id, octet_length(content)
        FROM newsletter_attachments WHERE newsletter_id = :newsletter_id ORDER BY id
        """
    )
    connection = await session.connection()
    return [
        AttachmentRow(*row) for row in (await connection.execute(statement, {"newsletter_id": newsletter_id})).all()
    ]


async def with_content(session: Session, newsletter_id: int) -> Sequence[NewsletterAttachment]:
    """A newsletter's attachments, in the order they were added."""
    statement = select(NewsletterAttachment).where(col(NewsletterAttachment.newsletter_id) == newsletter_id)
    return (await session.exec(statement.order_by(col(NewsletterAttachment.id)))).all()


async def remove(session: Session, newsletter_id: int, attachment_id: int) -> bool:
    """Whether it was there."""
    statement = (
        delete(NewsletterAttachment)
        .where(col(NewsletterAttachment.newsletter_id) == newsletter_id, col(NewsletterAttachment.id) == attachment_id)
        .returning(col(NewsletterAttachment.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None
