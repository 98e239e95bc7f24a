"""The message that is sent: the same size for all three."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from bench.rows import DOMAIN

AUTHOR = f"author@{DOMAIN}"
_LINE = "This line is one of some that make up a post of ordinary length.\n"
_LINES = 30


def compose(list_name: str) -> bytes:
    """A post with a Message-ID of its own."""
    message = EmailMessage()
    message["From"] = AUTHOR
    message["To"] = f"{list_name}@{DOMAIN}"
    message["Subject"] = "A post of ordinary length"
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=DOMAIN)
    message.set_content(_LINE * _LINES)
    return message.as_bytes()
