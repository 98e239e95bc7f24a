"""Copies of a newsletter to look at: as members would get them, with links and tokens that do nothing for real.

They name mailing 0 and member 0, which there are not: a link leads where it should, and nothing is counted; a click on
the link for leaving finds nobody who could leave.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from uuid import UUID, uuid4

from shared.core.copies import AS_WRITTEN
from shared.core.links import Links
from shared.core.mailing import MailingKind
from shared.core.tracking import TrackedLinks
from shared.mail.headers import STORED, Header, scan
from shared.mail.newsletter import Letter, compose
from shared.mail.parts import text_parts
from shared.mail.segments import TokenSlot, Wire, text_of
from shared.mail.tracking import Tracking
from shared.runtime.copies import compile_copies, member_values
from shared.runtime.newsletters import letter_of
from shared.store import newsletter_attachments, newsletters
from shared.store.contents import MailingContent
from shared.store.engine import Session
from shared.store.lists import MailingList
from shared.store.members import Member
from shared.store.newsletters import Newsletter

#: No mailing, member or delivery has this number.
_NOBODY = 0


@dataclass(frozen=True, slots=True)
class Specimen:
    """One copy, unsigned."""

    message_uuid: UUID
    raw: bytes
    #: The first list's: what it would be signed for.
    domain: str
    subject: str
    #: Empty for none.
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Original:
    """What copies are made of."""

    letter: Letter
    first_list: MailingList


async def original_of(session: Session, newsletter: Newsletter) -> Original:
    """The newsletter with its attachments, to be made into copies once the transaction is over."""
    first_list = (await newsletters.lists_of(session, newsletter))[0]
    attachments = await newsletter_attachments.with_content(session, newsletter.id)
    return Original(letter_of(newsletter, first_list, attachments), first_list)


@dataclass(frozen=True, slots=True)
class Specimens:
    """Makes them with the cluster's own links."""

    links: Links
    #: `None` where there are no pages: then nothing is tracked.
    tracked_links: TrackedLinks | None

    async def make(self, original: Original, member: Member | None, *, mark: str = "") -> Specimen:
        """The member's copy, or, without one, that of somebody of whom nothing is known; `mark` stands before the
        subject. Raises `UnreadablePost`."""
        letter = replace(original.letter, subject=f"{mark}{original.letter.subject}")
        # Not on the loop: a newsletter may have megabytes.
        return await asyncio.to_thread(self._made, letter, original.first_list, member)

    def _made(self, letter: Letter, first_list: MailingList, member: Member | None) -> Specimen:
        now, message_uuid = datetime.now(UTC), uuid4()
        mailing = MailingContent(
            content=compose(letter, message_id=f"<{message_uuid}@{first_list.domain}>", written_at=now),
            kind=MailingKind.NEWSLETTER,
            return_domain=first_list.domain,
            personal=True,
            verp_enabled=True,
            copies=AS_WRITTEN,
            list_name=first_list.name,
            list_domain=first_list.domain,
            list_display_name=first_list.display_name,
            posting_policy=first_list.posting_policy,
            message_uuid=message_uuid,
            loaded_at=now,
            received_at=now,
            one_click=True,
        )
        tracking = Tracking.of(
            first_list.tracking, self.tracked_links, _NOBODY, includes_plain_text=first_list.tracks_plain_text
        )
        copies = compile_copies(mailing, links=self.links, tracking=tracking)
        values = member_values(
            member.fields if member else {},
            address=member.email if member else "",
            display_name=member.display_name if member else "",
        )
        if copies.own_links and copies.leave_token:
            values |= {**copies.own_links(_NOBODY), TokenSlot.VALUE: copies.leave_token(_NOBODY)}
        if tracking:
            values |= tracking.values(_NOBODY, Wire(copies.message).reader_purposes)
        pieces = chain(copies.message.fields, [b"\r\n"], copies.message.body)
        raw = b"".join(piece if isinstance(piece, bytes) else piece.fill(values) for piece in pieces)
        return _read(raw, message_uuid, first_list.domain)


def _read(raw: bytes, message_uuid: UUID, domain: str) -> Specimen:
    header = scan(raw, STORED)
    subject = header.first("subject") if isinstance(header, Header) else None
    texts = {part.is_html: text_of(raw, part) or "" for part in reversed(text_parts(raw))}
    return Specimen(
        message_uuid,
        raw,
        domain,
        subject.text if subject else "",
        texts.get(False, ""),
        texts.get(True, ""),
    )
