"""The message that is sent: of the same size, whoever sends it."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from bench.list_kinds import ListKind

_LINE = "This line is one of some that make up a post of ordinary length.\n"
_LINES = 30
#: What a personal post has besides: merge fields, of which one link has two, and in HTML two links that are tracked.
_PERSONAL_LINES = (
    "Dear {{first_name|friend}} of {{city|somewhere}}, this post is yours only:\n",
    "https://www.bench.test/?of={{url:email}}&for={{url:first_name}}\n",
)
_TRACKED_LINES = (
    '<p><a href="https://www.bench.test/news">What is new</a></p>\n',
    '<p><a href="https://www.bench.test/more?page=2">And more of it</a></p>\n',
)


def author(kind: ListKind) -> str:
    return f"author@{kind.domain}"


def compose(kind: ListKind, list_name: str) -> bytes:
    """A post of about 2 kB with a Message-ID of its own; a personal one is in HTML, with merge fields and links."""
    message = EmailMessage()
    message["From"] = author(kind)
    message["To"] = f"{list_name}@{kind.domain}"
    message["Subject"] = "A post of ordinary length" + (" for {{first_name|friend}}" if kind.personal else "")
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=kind.domain)
    if kind.personal:
        lines = (*_PERSONAL_LINES, *_TRACKED_LINES)
        message.set_content("".join(lines) + _LINE * (_LINES - len(lines)), subtype="html")
    else:
        message.set_content(_LINE * _LINES)
    return message.as_bytes()
