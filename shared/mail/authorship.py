"""Whom the members' copies are from, and whom an answer goes to (RFC 5322 §3.6.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

from shared.core.copies import CopySettings, ReplyToPolicy
from shared.mail.headers import Field, folded
from shared.mail.lines import ended
from shared.mail.mailboxes import Mailboxes, mailboxes
from shared.mail.words import encode_phrase

#: What a copy of an anonymous list keeps of the author's header; of these, some with less in them.
_ANONYMOUS_FIELDS = frozenset(
    {
        *("subject", "references", "in-reply-to", "auto-submitted"),
        *("mime-version", "content-type", "content-transfer-encoding", "content-disposition"),
    }
)
_THREAD_FIELDS = frozenset({"references", "in-reply-to"})
_MESSAGE_ID = re.compile(rb"<[^<>@\s]{1,250}@([^<>@\s]{1,250})>")
#: Names of more authors, or longer ones, say less.
_NAMED_AUTHORS = 3
_NAME_CHARACTERS = 60


def anonymous(
    fields: Sequence[Field], *, list_name: str, list_address: str, message_id: str, received_at: datetime
) -> list[Field]:
    """The fields that do not tell the author, and a From, a To, a Date and a Message-ID that do not either.

    Of other messages, those are named that the list sent: its members see no other names of them.
    """
    domain = list_address.rpartition("@")[2]
    kept = [_threaded(field, domain) for field in fields if field.name in _ANONYMOUS_FIELDS]
    # The hour of the author's clock tells where the author is.
    date = format_datetime(received_at.astimezone(UTC))
    return [
        _field("From", f"{encode_phrase(list_name)} <{list_address}>"),
        _field("To", f"<{list_address}>"),
        _field("Date", date),
        _field("Message-ID", message_id),
        *[field for field in kept if field is not None],
    ]


def _threaded(field: Field, domain: str) -> Field | None:
    if field.name not in _THREAD_FIELDS:
        return field
    found = _MESSAGE_ID.finditer(field.value)
    ids = [one.group().decode("ascii", "replace") for one in found if one.group(1).lower() == domain.encode()]
    name = field.raw.partition(b":")[0].rstrip(b" \t").decode("ascii")
    return _field(name, " ".join(ids)) if ids else None


def addressed(fields: Sequence[Field], settings: CopySettings, *, list_name: str, list_address: str) -> list[Field]:
    """The fields with From, Sender, Reply-To and Cc as the list wants them.

    Where the copies are from the list, the author is told of in its display name, and is in Reply-To, or in Cc where
    answers go to others.
    """
    author = next((field for field in fields if field.name == "from"), None)
    authors = _read(author)
    is_from_list = settings.is_from_list and not settings.is_anonymous and _keys(authors) != {list_address}
    made = list(fields)
    if is_from_list:
        made = [field for field in made if field.name not in ("from", "sender")]
        made.insert(0, _field("From", f"{encode_phrase(_via(authors, list_name))} <{list_address}>"))
    own = [field for field in made if field.name == "reply-to"] if settings.keeps_authors_reply_to else []
    if settings.reply_to is ReplyToPolicy.AUTHOR:
        if not own:
            made = [field for field in made if field.name != "reply-to"]
        if not own and is_from_list and author is not None:
            made.append(_renamed("Reply-To", [author]))
        return made
    wanted = settings.reply_to_address if settings.reply_to is ReplyToPolicy.ADDRESS else list_address
    own = [field for field in own if _is_readable(field)][:1]
    answered = {key for field in own for key in _keys(_read(field))}
    target = [] if wanted is None or wanted.lower() in answered else [_field("Reply-To", f"<{wanted}>")]
    made = [field for field in made if field.name != "reply-to"]
    copied = [field for field in made if field.name == "cc"]
    known = {key for field in made if field.name in ("to", "cc") for key in _keys(_read(field))}
    if not is_from_list or author is None or _keys(authors) <= answered | known:
        return [*made, _renamed("Reply-To", [*own, *target])]
    if all(_is_readable(field) for field in copied):
        others = [field for field in made if field.name != "cc"]
        return [*others, _renamed("Cc", [*copied, author]), _renamed("Reply-To", [*own, *target])]
    # The Cc cannot be added to without changing what somebody reads in it.
    return [*made, _renamed("Reply-To", [author, *own, *target])]


def _via(authors: Mailboxes, list_name: str) -> str:
    """The authors' names, never an address: programs take one in a display name for a forgery."""
    names = [
        (name.partition("@")[0].strip() or address.local)[:_NAME_CHARACTERS]
        for name, address in zip(authors.names, authors.addresses, strict=True)
    ]
    return f"{', '.join(names[:_NAMED_AUTHORS])} via {list_name}" if names else list_name


def _read(field: Field | None) -> Mailboxes:
    return Mailboxes((), 0) if field is None else mailboxes(field.value.decode("utf-8", "replace"))


def _is_readable(field: Field) -> bool:
    found = _read(field)
    return bool(found.addresses) and not found.unreadable


def _keys(found: Mailboxes) -> set[str]:
    return {address.key for address in found.addresses}


def _field(name: str, value: str) -> Field:
    return Field(name.lower(), folded(name, value))


def _renamed(name: str, fields: Sequence[Field]) -> Field:
    """One field with the values of all, which are lists of addresses, as they were written."""
    values = [ended(field.raw).partition(b":")[2].strip(b" \t\r\n").rstrip(b", ") for field in fields]
    return Field(name.lower(), name.encode() + b": " + b",\r\n ".join(values) + b"\r\n")
