"""Notices: what the system itself writes, one mail to one address, from a template that the operator may edit.

A template is a subject and a text with placeholders, `{{list_address}}`, out of a list that is fixed for each notice.
They are filled in once, as text: a value is never looked at again, and in the subject it stays on its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from uuid import UUID

from shared.core.address import Address
from shared.mail.headers import folded
from shared.mail.merge import MergeField, split
from shared.mail.template import ListHeaders
from shared.mail.transfer_encoding import quoted_printable
from shared.mail.words import encode_phrase, encode_text

# What a value may not bring into a text: control characters but for line ends.
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]+")

# What is left where a value is empty.
_EMPTY_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class NoticeText:
    """A template: what a notice says, before its placeholders are filled."""

    subject: str
    body: str

    def placeholders(self) -> frozenset[str]:
        """The names that stand between braces."""
        pieces = [*split(self.subject), *split(self.body)]
        return frozenset(piece.name for piece in pieces if isinstance(piece, MergeField))


@dataclass(frozen=True, slots=True)
class Writing:
    """One notice, ready to be written."""

    text: NoticeText
    values: Mapping[str, str]
    list_headers: ListHeaders
    to: Address
    #: Where an answer goes; the list's request address otherwise.
    reply_to: str | None
    #: Somebody's message or form led to it (RFC 3834 §5: auto-replied); else it comes by itself (auto-generated).
    is_answer: bool


def compose(writing: Writing, *, message_uuid: UUID, written_at: datetime) -> bytes:
    """The message, its lines ended by CR LF, in seven bits but for an address that is not."""
    listed = writing.list_headers
    request = f"{listed.name}-request@{listed.domain}"
    name = encode_phrase(listed.display_name)
    subject = encode_text(_filled(writing.text.subject, writing.values))
    fields = [
        folded("From", f"{name} <{request}>" if name else request),
        # As it is, since it may hold what folding would change; an `Address` cannot end the field.
        f"To: {writing.to.wire}\r\n".encode(),
        folded("Reply-To", writing.reply_to or request),
        folded("Subject", subject),
        folded("Date", format_datetime(written_at)),
        folded("Message-ID", f"<{message_uuid}@{listed.domain}>"),
        folded("Auto-Submitted", "auto-replied" if writing.is_answer else "auto-generated"),
        # What Exchange and its kin go by, who do not know the field above.
        folded("X-Auto-Response-Suppress", "All"),
        folded("List-Id", f"{name} <{listed.list_id}>" if name else f"<{listed.list_id}>"),
        folded("List-Help", f"<mailto:{request}?subject=help>"),
        folded("List-Owner", f"<mailto:{listed.name}-owner@{listed.domain}>"),
        folded("MIME-Version", "1.0"),
        folded("Content-Type", "text/plain; charset=utf-8"),
        folded("Content-Transfer-Encoding", "quoted-printable"),
    ]
    body = _EMPTY_LINES.sub("\n\n", _filled(writing.text.body, writing.values)).strip() + "\n"
    return b"".join([*fields, b"\r\n", quoted_printable(body)])


def subject_of(writing: Writing) -> str:
    """The subject as people read it."""
    return " ".join(_filled(writing.text.subject, writing.values).split())


def _filled(text: str, values: Mapping[str, str]) -> str:
    clean = {name: _CONTROLS.sub(" ", value.replace("\r\n", "\n")) for name, value in values.items()}
    return "".join(piece if isinstance(piece, str) else piece.text(clean) for piece in split(text))
