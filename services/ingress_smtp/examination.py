"""One message read once: what the posting rules ask about, and what is stored beside its bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from shared.core.posting.post import Post, Refuse
from shared.mail.headers import Field, Header, Unreadable, scan
from shared.mail.lines import MAX_LINE_OCTETS, has_line_longer_than
from shared.mail.mailboxes import Mailboxes, mailboxes
from shared.mail.words import clean

#: What is stored of a subject or a Message-ID, in characters.
MAX_TEXT = 998

_FIELDS_THAT_STAND_ONCE = ("subject", "sender", "reply-to", "date", "message-id")


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found."""

    post: Post
    message_id: str
    subject: str
    #: The same for the same post sent again.
    fingerprint: bytes


def examine(content: bytes, envelope_sender: str) -> Examined | Refuse:
    """Read `content` (line ends CR LF). Pure and linear; some milliseconds a megabyte, so not for the event loop."""
    header = scan(content)
    if isinstance(header, Unreadable):
        return Refuse(header.because, "5.6.0")
    message_id = _text(header.first("message-id"))
    return Examined(
        post=_facts(header, envelope_sender, content),
        message_id=message_id,
        subject=_text(header.first("subject")),
        fingerprint=_fingerprint(content, header, envelope_sender, message_id),
    )


def _facts(header: Header, envelope_sender: str, content: bytes) -> Post:
    from_fields = header.all("from")
    authors = mailboxes(_raw_text(from_fields[0])) if from_fields else Mailboxes((), 0)
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
    )


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
