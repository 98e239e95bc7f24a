"""Who wrote a message, and whether a program may answer it (RFC 3834 §2)."""

from __future__ import annotations

from dataclasses import dataclass

from shared.core.address import Address
from shared.mail.headers import STORED, Header, scan
from shared.mail.mailboxes import mailboxes
from shared.mail.words import clean

#: What programs and lists write under (RFC 3834 §2, RFC 2142), in local parts.
_PROGRAMS = frozenset(
    {"mailer-daemon", "postmaster", "noreply", "no-reply", "donotreply", "do-not-reply", "bounce", "bounces", "root"}
)
_PROGRAM_ENDINGS = ("-request", "-owner", "-bounces", "-bounce", "-relay", "-errors", "-confirm", "-noreply")
_LIST_FIELDS = ("list-id", "list-post", "list-unsubscribe", "x-loop", "x-mailing-list")
_BULK = frozenset({"bulk", "list", "junk", "auto_reply"})


@dataclass(frozen=True, slots=True)
class Writer:
    """Who wrote a message."""

    address: Address


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The message is not to be answered."""

    because: str


def writer_of(content: bytes, envelope_sender: str) -> Writer | NoAnswer:
    """The one author of a message that a person wrote, or why it gets no answer."""
    header = scan(content, STORED)
    if not isinstance(header, Header):
        return NoAnswer(header.because)
    if not envelope_sender:
        return NoAnswer("it has the null sender")
    if _keyword(header, "auto-submitted") not in ("", "no"):
        return NoAnswer("a program wrote it")
    if _keyword(header, "precedence") in _BULK or any(header.first(name) for name in _LIST_FIELDS):
        return NoAnswer("it comes from a list")
    from_fields = header.all("from")
    authors = mailboxes(clean(from_fields[0].value.decode("utf-8", "replace"))) if len(from_fields) == 1 else None
    if authors is None or authors.unreadable or len(authors.addresses) != 1:
        return NoAnswer("it has no single author")
    address = authors.addresses[0]
    local = address.key.rpartition("@")[0]
    if local in _PROGRAMS or local.startswith("owner-") or local.endswith(_PROGRAM_ENDINGS):
        return NoAnswer("its author is a program or a list")
    return Writer(address)


def _keyword(header: Header, name: str) -> str:
    """The word that the field's value begins with, lower-case."""
    field = header.first(name)
    words = clean(field.value.decode("utf-8", "replace")).replace(";", " ").replace("(", " ").split() if field else []
    return words[0].lower() if words else ""
