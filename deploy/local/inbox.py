"""The demo inbox: catches all mail by SMTP and shows it on a page. `python -m deploy.local.inbox`

LISTFLEET_INBOX_SMTP_HOST, _SMTP_PORT (1025), LISTFLEET_INBOX_HTTP_HOST, _HTTP_PORT (8025). It keeps the newest
messages whole, and of all messages how many copies each recipient got.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser

import uvicorn

from deploy.local.catching_smtp import CaughtMessage, MailCatcher, serve
from deploy.local.ports import LOOPBACK

_NEWEST = 200
_CONTENT_BYTES = 64 << 10
#: Of how many different messages the counts are kept: the newest.
_COUNTED = 20


@dataclass(slots=True)
class Mail:
    """One message as the page shows it; `content` is cut at 64 kB."""

    number: int
    caught_at: datetime
    sender: str
    recipients: list[str]
    subject: str
    node: str
    content: bytes
    size_bytes: int


@dataclass(slots=True)
class Counted:
    """The copies of one message: all copies of a post carry its Message-ID."""

    message_id: str
    subject: str
    first_seconds: float
    last_seconds: float
    per_recipient: Counter[str] = field(default_factory=Counter)
    per_client: Counter[str] = field(default_factory=Counter)

    @property
    def recipients_by_copies(self) -> dict[int, int]:
        """How many recipients have one copy, two, ..."""
        return dict(sorted(Counter(self.per_recipient.values()).items()))


class Inbox(MailCatcher):
    """What was caught since the start, in bounded memory."""

    def __init__(self) -> None:
        self.newest: deque[Mail] = deque(maxlen=_NEWEST)
        self.counted: OrderedDict[str, Counted] = OrderedDict()
        self.total = 0

    def caught(self, message: CaughtMessage) -> None:
        self.total += 1
        message_id, subject = _identify(message.content)
        self.newest.append(
            Mail(
                number=self.total,
                caught_at=datetime.now(UTC),
                sender=message.sender,
                recipients=message.recipients,
                subject=subject,
                node=message.session.client,
                content=message.content[:_CONTENT_BYTES],
                size_bytes=len(message.content),
            )
        )
        now = time.monotonic()
        counted = self.counted.setdefault(message_id, Counted(message_id, subject, now, now))
        counted.last_seconds = now
        counted.per_recipient.update(message.recipients)
        counted.per_client[message.session.client] += len(message.recipients)
        if len(self.counted) > _COUNTED:
            self.counted.popitem(last=False)

    def mail(self, number: int) -> Mail | None:
        return next((mail for mail in self.newest if mail.number == number), None)


def _identify(content: bytes) -> tuple[str, str]:
    """Message-ID and readable subject; empty where there is none."""
    header = BytesHeaderParser().parsebytes(content[:_CONTENT_BYTES].partition(b"\r\n\r\n")[0])
    subject = str(header.get("Subject", ""))
    with contextlib.suppress(ValueError, LookupError):
        subject = str(make_header(decode_header(subject)))
    return str(header.get("Message-ID", "")).strip(), subject


async def main() -> None:
    from deploy.local.inbox_page import application

    setting = os.environ.get
    inbox = Inbox()
    smtp = await serve(
        inbox, setting("LISTFLEET_INBOX_SMTP_HOST", LOOPBACK), int(setting("LISTFLEET_INBOX_SMTP_PORT", "1025"))
    )
    page = uvicorn.Server(
        uvicorn.Config(
            application(inbox),
            host=setting("LISTFLEET_INBOX_HTTP_HOST", LOOPBACK),
            port=int(setting("LISTFLEET_INBOX_HTTP_PORT", "8025")),
            log_level="warning",
        )
    )
    async with smtp:
        await page.serve()  # until SIGTERM or SIGINT


if __name__ == "__main__":
    asyncio.run(main())
