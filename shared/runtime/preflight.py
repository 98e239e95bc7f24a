"""Looking at a newsletter before it is sent: what its author wrote, its lists, the keys, and the DNS."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.core.dmarc import PublishedPolicy
from shared.core.links import PREFERENCES_FIELD, UNSUBSCRIBE_FIELD
from shared.core.preflight import judge
from shared.core.preflight.draft import Alignment, Draft, Sender
from shared.core.preflight.finding import Finding, Severity
from shared.core.segment.parsing import parse
from shared.dns.dmarc import Records, alignment
from shared.mail.newsletter import Letter, html_as_sent, text_as_sent
from shared.mail.newsletter_reading import read
from shared.mail.transfer_encoding import quoted_printable
from shared.runtime.newsletters import letter_of
from shared.store import audiences, dkim_keys, lists, members, newsletter_attachments, newsletters
from shared.store.audiences import Audience
from shared.store.engine import Database
from shared.store.newsletter_attachments import AttachmentRow

#: For all questions to the DNS; what is not known then is unknown.
DNS_SECONDS = 10.0
#: Of the header, and of what stands between the parts.
_HEADER_BYTES = 4096
#: Base64 makes a line of 78 bytes of 57.
_BASE64_LINE_BYTES, _OCTETS_A_LINE = 78, 57


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    #: What refuses it first.
    findings: Sequence[Finding]
    #: Which state of the newsletter this is about: its `updated_at`.
    updated_at: datetime

    @property
    def is_refused(self) -> bool:
        return any(finding.severity is Severity.REFUSE for finding in self.findings)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database knows of a newsletter."""

    letter: Letter
    return_domain: str
    known_fields: Collection[str]
    attachments: Sequence[AttachmentRow]
    has_signing_key: bool
    audience: Audience
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Preflight:
    """Looks at newsletters; the DNS is asked outside of any transaction."""

    database: Database
    resolver: Records
    #: There is a public URL, and with it pages for leaving.
    has_pages: bool

    async def __call__(self, newsletter_id: int) -> Report | None:
        """What is to be said of the newsletter as it is now; `None` when there is none. Raises `StoreUnavailable`."""
        stored = await self._stored(newsletter_id)
        if stored is None:
            return None
        async with self.database.raw_transaction() as connection:
            counted = await audiences.count(connection, stored.audience)
        has_audience = None if counted is None else counted.addresses > 0
        from_domain = stored.letter.from_address.rpartition("@")[2].lower()
        try:
            async with asyncio.timeout(DNS_SECONDS):
                aligned, policy = await alignment(self.resolver, from_domain, stored.return_domain)
        except TimeoutError:
            aligned, policy = Alignment.UNKNOWN, PublishedPolicy.NONE
        sender = Sender(from_domain, stored.return_domain, aligned, policy, stored.has_signing_key)
        # Not on the loop: a text may have a million characters.
        findings = await asyncio.to_thread(_judged, stored, sender, has_pages=self.has_pages, has_audience=has_audience)
        return Report(findings, stored.updated_at)

    async def _stored(self, newsletter_id: int) -> _Stored | None:
        async with self.database.snapshot() as session:
            newsletter = await newsletters.get(session, newsletter_id)
            first_list = await lists.get(session, newsletter.list_ids[0]) if newsletter else None
            if newsletter is None or first_list is None:
                return None
            used = [await members.used_fields(session, list_id) for list_id in newsletter.list_ids]
            return _Stored(
                letter=letter_of(newsletter, first_list, ()),
                return_domain=first_list.domain,
                known_fields={field.name for fields in used for field in fields},
                attachments=await newsletter_attachments.rows(session, newsletter_id),
                has_signing_key=await dkim_keys.is_signed(session, first_list.domain),
                audience=Audience(
                    newsletter.list_ids,
                    None if newsletter.segment is None else parse(newsletter.segment),
                    newsletter.unopened_of_mailing_id,
                ),
                updated_at=newsletter.updated_at,
            )


def _judged(stored: _Stored, sender: Sender, *, has_pages: bool, has_audience: bool | None) -> list[Finding]:
    letter, html = stored.letter, html_as_sent(stored.letter)
    texts = read(
        letter.subject,
        letter.preheader,
        letter.text,
        letter.html,
        known_fields={*stored.known_fields, UNSUBSCRIBE_FIELD, PREFERENCES_FIELD},
    )
    draft = Draft(
        texts=texts,
        sender=sender,
        content_ids=frozenset(row.content_id for row in stored.attachments if row.content_id),
        html_bytes=len(html.encode()),
        message_bytes=(
            _HEADER_BYTES
            + len(quoted_printable(text_as_sent(letter)))
            + len(quoted_printable(html))
            + sum(_in_base64(row.size_bytes) for row in stored.attachments)
        ),
        has_pages=has_pages,
        has_audience=has_audience,
    )
    return judge(draft)


def _in_base64(size_bytes: int) -> int:
    return -(-size_bytes // _OCTETS_A_LINE) * _BASE64_LINE_BYTES
