"""An issue of a digest: what it says in any format, and how a post stands in it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from uuid import UUID

from shared.core.copies import CopySettings
from shared.core.digest import IssueNumber
from shared.mail.headers import STORED, Header, folded, scan
from shared.mail.mailboxes import mailboxes
from shared.mail.merge import split
from shared.mail.segments import compile_message
from shared.mail.template import ListHeaders, compile_post
from shared.mail.words import encode_phrase, encode_text

LINE = 70
_TOPIC_CHARACTERS = 200
_AUTHOR_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Issue:
    """What an issue says of itself and of its list."""

    list_headers: ListHeaders
    number: IssueNumber
    #: Lines before and behind the posts, each ended by a line feed but the last; empty for none.
    header_text: str
    footer_text: str
    #: Where an answer goes.
    reply_to: str
    message_uuid: UUID
    written_at: datetime

    @property
    def name(self) -> str:
        return self.list_headers.display_name or self.list_headers.name

    @property
    def title(self) -> str:
        """The subject, as people read it."""
        return f"{self.name} Digest, Vol {self.number.volume}, Issue {self.number.issue}"

    @property
    def request_address(self) -> str:
        return f"{self.list_headers.name}-request@{self.list_headers.domain}"

    @property
    def fields(self) -> list[bytes]:
        """The header, but for what describes the body and for the list's own fields."""
        name = encode_phrase(self.name)
        return [
            folded("From", f"{name} <{self.request_address}>"),
            folded("To", self.list_headers.address),
            folded("Reply-To", self.reply_to),
            folded("Subject", encode_text(self.title)),
            folded("Date", format_datetime(self.written_at)),
            folded("Message-ID", f"<{self.message_uuid}@{self.list_headers.domain}>"),
            folded("MIME-Version", "1.0"),
        ]

    def preamble(self, topics: Sequence[str]) -> str:
        """What stands before the posts: how to write and to leave, the list's own lines, and the table of contents."""
        listed = self.list_headers
        ways = [f'To leave, or to change how posts come, write "help" to\n\t{self.request_address}']
        if not listed.is_announcement:
            ways.insert(0, f"Posts to {self.name} go to\n\t{listed.address}")
            about = f'When you answer, please write a subject that is more specific than "Re: {self.title}".'
            ways.append(textwrap.fill(about, LINE))
        own = [self.header_text] if self.header_text else []
        contents = "\n".join(_contents_line(number, topic) for number, topic in enumerate(topics, start=1))
        return "\n\n".join([*ways, *own, f"Today's Topics:\n\n{contents}"])


def _contents_line(number: int, topic: str) -> str:
    return textwrap.fill(topic, LINE, initial_indent=f"{number:4}. ", subsequent_indent=" " * 6)


def post_copy(
    raw: bytes,
    list_headers: ListHeaders,
    *,
    message_id: str,
    received_at: datetime,
    settings: CopySettings,
    is_personal: bool,
) -> bytes:
    """The post as it stands in digests: as its members' copies are, but from its author where these are not anonymous,
    and without the list's prefix and texts; merge fields are their defaults. Raises `UnreadablePost`."""
    bare = replace(settings, subject_prefix="", header_text="", footer_text="", is_from_list=False)
    content = compile_post(raw, list_headers, message_id=message_id, received_at=received_at, settings=bare)
    if not is_personal:
        return content
    message = compile_message(content, is_personal=True)
    pieces = (*message.fields, b"\r\n", *message.body)
    return b"".join(piece if isinstance(piece, bytes) else piece.fill({}) for piece in pieces)


def with_defaults(text: str) -> str:
    """A list's own lines, with the defaults of merge fields in their places."""
    return "".join(piece if isinstance(piece, str) else piece.text({}) for piece in split(text))


def topic_of(content: bytes) -> str:
    """The post's line in the table of contents: subject and author, who is never named by the address."""
    header = scan(content, STORED)
    if not isinstance(header, Header):
        return "(a post that cannot be read)"
    subject, author = header.first("subject"), header.first("from")
    words = (subject.text[:_TOPIC_CHARACTERS] if subject else "") or "(no subject)"
    found = mailboxes(author.value.decode("utf-8", "replace")) if author else None
    if found is None or not found.addresses:
        return words
    name = found.names[0].partition("@")[0].strip() or found.addresses[0].local
    return f"{words} ({name[:_AUTHOR_CHARACTERS]})"
