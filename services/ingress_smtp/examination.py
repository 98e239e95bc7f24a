"""One message read once: what the posting rules ask about, and what is stored beside its bytes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from shared.core.posting.post import Post, Refuse
from shared.mail.attachments import Found, find_attachments
from shared.mail.commands import CommandKind, read_commands
from shared.mail.headers import Field, Header, Unreadable, scan
from shared.mail.lines import MAX_LINE_OCTETS, has_line_longer_than
from shared.mail.mailboxes import Mailboxes, mailboxes
from shared.mail.words import clean

#: What is stored of a subject or a Message-ID, in characters.
MAX_TEXT = 998

_FIELDS_THAT_STAND_ONCE = ("subject", "sender", "reply-to", "date", "message-id")
_DESTINATION_FIELDS = ("to", "cc", "resent-to", "resent-cc")
#: Who sends a command by mistake writes no more than this, with HTML and a signature.
_MAX_COMMAND_BYTES = 16 * 1024
#: With a subject that is none. To read the text of every message would take longer than all the rest.
_TINY_BYTES = 300
_COMMAND_SUBJECT = re.compile(
    r"(?:\w{1,4}:\s*){0,3}(?:join|leave|subscribe|unsubscribe|signoff|set|confirm)\b", re.IGNORECASE
)
#: `help` may be a cry.
_COMMANDS = frozenset({CommandKind.JOIN, CommandKind.LEAVE, CommandKind.SET, CommandKind.CONFIRM})


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found."""

    post: Post
    message_id: str
    subject: str
    #: The same for the same post sent again.
    fingerprint: bytes


def examine(content: bytes, envelope_sender: str, *, with_attachments: bool = False) -> Examined | Refuse:
    """Read `content` (line ends CR LF). Pure and linear; some milliseconds a megabyte, so not for the event loop.

    What it carries is looked at when that is asked for.
    """
    header = scan(content)
    if isinstance(header, Unreadable):
        return Refuse(header.because, "5.6.0")
    message_id = _text(header.first("message-id"))
    return Examined(
        post=_facts(header, envelope_sender, content, with_attachments=with_attachments),
        message_id=message_id,
        subject=_text(header.first("subject")),
        fingerprint=_fingerprint(content, header, envelope_sender, message_id),
    )


def _facts(header: Header, envelope_sender: str, content: bytes, *, with_attachments: bool) -> Post:
    from_fields = header.all("from")
    authors = mailboxes(_raw_text(from_fields[0])) if from_fields else Mailboxes((), 0)
    found = find_attachments(content) if with_attachments else Found((), has_more=False)
    return Post(
        envelope_sender=envelope_sender,
        from_fields=len(from_fields),
        authors=authors.addresses,
        unreadable_authors=authors.unreadable,
        repeated_fields=tuple(name for name in _FIELDS_THAT_STAND_ONCE if len(header.all(name)) > 1),
        list_ids=_all_lowered(header, "list-id"),
        list_posts=_all_lowered(header, "list-post"),
        loop_marks=_all_lowered(header, "x-loop"),
        received_count=len(header.all("received")),
        auto_submitted=_keyword(header.first("auto-submitted")),
        precedence=_keyword(header.first("precedence")),
        size_bytes=len(content),
        has_overlong_line=has_line_longer_than(MAX_LINE_OCTETS, content),
        destinations=_destinations(header),
        command=_command(content, header),
        attachments=found.attachments,
        has_hidden_parts=found.has_more,
    )


def _destinations(header: Header) -> frozenset[str]:
    values = (_raw_text(field) for name in _DESTINATION_FIELDS for field in header.all(name))
    return frozenset(address.key for value in values for address in mailboxes(value).addresses)


def _command(content: bytes, header: Header) -> str:
    """The command that is all that `content` says. Texts are read only where a look shows that it may be one."""
    body_bytes = len(content) - header.body_at
    subject = header.first("subject")
    is_likely = body_bytes <= _TINY_BYTES or (subject is not None and _COMMAND_SUBJECT.match(_raw_text(subject)))
    if not is_likely or body_bytes > _MAX_COMMAND_BYTES:
        return ""
    read = read_commands(content)
    kinds = {command.kind for command in read.commands}
    return " ".join(sorted(kinds)) if kinds and kinds <= _COMMANDS and not read.strange_lines else ""


def _fingerprint(content: bytes, header: Header, envelope_sender: str, message_id: str) -> bytes:
    """Of Message-ID, sender and body; of everything when there is no Message-ID, for two such posts may be alike."""
    digest = hashlib.sha256()
    for part in (message_id, envelope_sender):
        digest.update(part.encode("utf-8", "replace") + b"\x00")
    digest.update(memoryview(content)[header.body_at if message_id else 0 :])
    return digest.digest()


def _raw_text(field: Field) -> str:
    return field.value.decode("utf-8", "replace")


def _text(field: Field | None) -> str:
    return field.text[:MAX_TEXT] if field else ""


def _keyword(field: Field | None) -> str:
    """The word a field's value begins with, lower-case, without parameters and comments."""
    words = clean(_raw_text(field)).replace(";", " ").replace("(", " ").split() if field else []
    return words[0].lower() if words else ""


def _all_lowered(header: Header, name: str) -> tuple[str, ...]:
    return tuple(clean(_raw_text(field)).lower() for field in header.all(name))
