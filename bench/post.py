"""The message that is sent: of the same size, whoever sends it."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from bench.list_kinds import ListKind

_LINE = "This line is one of some that make up a post of ordinary length.\n"
_LINES = 30
#: Of a personal post; each recipient's copy has about the length of the line.
_PERSONAL_LINES = (
    "Dear {{first_name|friend}} of {{city|somewhere}}, this post is yours only:\n",
    "https://www.bench.test/?of={{url:email}}&for={{url:first_name}}\n",
)


def author(kind: ListKind) -> str:
    return f"author@{kind.domain}"


def compose(kind: ListKind, list_name: str) -> bytes:
    """A post of about 2 kB with a Message-ID of its own, with merge fields where they count."""
    personal = _PERSONAL_LINES if kind.personal else ()
    message = EmailMessage()
    message["From"] = author(kind)
    message["To"] = f"{list_name}@{kind.domain}"
    message["Subject"] = "A post of ordinary length" + (" for {{first_name|friend}}" if kind.personal else "")
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=kind.domain)
    message.set_content("".join(personal) + _LINE * (_LINES - len(personal)))
    return message.as_bytes()
