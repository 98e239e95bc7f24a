"""An issue to begin with, and posts as digests hold them."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart
from uuid import UUID

from shared.core.copies import AS_WRITTEN, CopySettings
from shared.core.digest import IssueNumber
from shared.mail.digest.issue import Issue, post_copy
from shared.mail.template import ListHeaders

LIST = ListHeaders("dev", "lists.test", "Dev", is_announcement=False)
RECEIVED_AT = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)


def issue(*, header: str = "", footer: str = "", listed: ListHeaders = LIST) -> Issue:
    return Issue(
        list_headers=listed,
        number=IssueNumber(3, 12),
        header_text=header,
        footer_text=footer,
        reply_to=listed.address,
        message_uuid=UUID(int=7),
        written_at=datetime(2026, 11, 24, 6, 0, tzinfo=UTC),
    )


def copy(raw: bytes, settings: CopySettings = AS_WRITTEN, *, is_personal: bool = False) -> bytes:
    return post_copy(
        raw,
        LIST,
        message_id="<7@lists.test>",
        received_at=RECEIVED_AT,
        settings=settings,
        is_personal=is_personal,
    )


def parsed(content: bytes) -> EmailMessage:
    """As the standard library reads it, which finds nothing wrong."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not [defect for part in message.walk() for defect in part.defects if part is message]
    return message


def text_in(part: MIMEPart) -> str:
    """The part's text, its lines ended by line feeds."""
    return str(part.get_content()).replace("\r\n", "\n")
