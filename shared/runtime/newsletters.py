"""Newsletters as messages: what an author wrote, composed for the members of its lists."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from shared.core.address import Address
from shared.mail.newsletter import Attachment, Letter, compose
from shared.store import lists, newsletter_attachments, newsletters
from shared.store.engine import Database
from shared.store.lists import MailingList
from shared.store.newsletter_attachments import NewsletterAttachment
from shared.store.newsletter_starts import ComposedMailing
from shared.store.newsletters import Newsletter


def letter_of(newsletter: Newsletter, first_list: MailingList, attachments: Sequence[NewsletterAttachment]) -> Letter:
    """The newsletter, ready to be composed."""
    return Letter(
        from_name=newsletter.from_name or first_list.display_name,
        from_address=Address.parse(newsletter.from_address or first_list.address).wire,
        reply_to_address=Address.parse(newsletter.reply_to_address).wire if newsletter.reply_to_address else None,
        to_name=first_list.display_name,
        to_address=first_list.address,
        subject=newsletter.subject,
        preheader=newsletter.preheader,
        text=newsletter.text,
        html=newsletter.html,
        attachments=[
            Attachment(each.file_name, each.content_type, each.content_id, each.content) for each in attachments
        ],
    )


@dataclass(frozen=True, slots=True)
class Composer:
    """Composes newsletters for their mailings, in a thread."""

    database: Database

    async def __call__(self, newsletter_id: int) -> ComposedMailing | None:
        """The newsletter as it is now; `None` when there is none."""
        async with self.database.snapshot() as session:
            newsletter = await newsletters.get(session, newsletter_id)
            first_list = await lists.get(session, newsletter.list_ids[0]) if newsletter else None
            if newsletter is None or first_list is None:
                return None
            attachments = await newsletter_attachments.with_content(session, newsletter_id)
        letter, message_uuid = letter_of(newsletter, first_list, attachments), uuid4()
        content = await asyncio.to_thread(
            compose, letter, message_id=f"<{message_uuid}@{first_list.domain}>", written_at=datetime.now(UTC)
        )
        return ComposedMailing(message_uuid, content, letter.subject, first_list.domain, newsletter.updated_at)
