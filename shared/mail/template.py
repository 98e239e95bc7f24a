"""A post made ready for a list's members, once a mailing: as its list's settings say, and with its list's fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import quote

from shared.core.copies import AS_WRITTEN, CopySettings
from shared.mail.copies import Sender, as_settings_say
from shared.mail.headers import STORED, Header, Unreadable, folded, scan
from shared.mail.lines import ended, with_crlf
from shared.mail.words import encode_phrase

#: Fields that a post loses on its way to the members.
REMOVED_FIELDS = frozenset(
    {
        # They speak for one list, and it is ours now (RFC 2369 §4, RFC 2919 §6, RFC 8058).
        "list-id",
        "list-post",
        "list-help",
        "list-subscribe",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-owner",
        "list-archive",
        "precedence",
        # Written by the last server, for it to write again (RFC 5321 §4.4).
        "return-path",
        # A field that names a member makes that member's server see a loop, and the post a bounce (RFC 9228).
        "delivered-to",
        # Not for other recipients' eyes (RFC 5322 §3.6.3).
        "bcc",
        "resent-bcc",
        # A moderator's word, a password with some list managers.
        "approved",
        "approve",
        "x-approved",
        "x-approve",
        # Every member would answer the author, and tell that it reads (RFC 8098 §2.1 and its older relatives).
        "disposition-notification-to",
        "return-receipt-to",
        "x-confirm-reading-to",
    }
)


@dataclass(frozen=True, slots=True)
class ListHeaders:
    """What the members' copies say about the list."""

    #: The list's local part, ASCII.
    name: str
    #: Its domain in A-labels.
    domain: str
    display_name: str
    #: Members cannot post (RFC 2369 §3.4).
    is_announcement: bool

    @property
    def address(self) -> str:
        return f"{self.name}@{self.domain}"

    @property
    def list_id(self) -> str:
        """The list's identifier (RFC 2919 §2), without angle brackets."""
        return f"{self.name}.{self.domain}"


class UnreadablePost(ValueError):
    """The stored message's header is beyond the bounds; ingress refuses such mail."""


def compile_post(
    raw: bytes,
    list_headers: ListHeaders,
    *,
    message_id: str,
    received_at: datetime,
    settings: CopySettings = AS_WRITTEN,
) -> bytes:
    """The content every member gets, before dot-stuffing; its lines end in CR LF.

    Without settings a body whose lines do so already, as what ingress stores, is not changed by a byte.

    `message_id` (with its angle brackets) and `received_at` stand in for a Message-ID and a Date the author left out.
    The same arguments give the same bytes. Raises `UnreadablePost`.
    """
    # Before the fields are told apart: a bare CR must not become a line end, and a field, afterwards.
    raw = with_crlf(raw)
    header = scan(raw, STORED)
    if isinstance(header, Unreadable):
        raise UnreadablePost(header.because)
    theirs = Header(tuple(field for field in header.fields if field.name not in REMOVED_FIELDS), header.body_at)
    sender = Sender(list_headers.display_name or list_headers.name, list_headers.address, message_id, received_at)
    copy = as_settings_say(raw, theirs, settings, sender)
    names = {field.name for field in copy.fields}
    lines = [ended(field.raw) for field in copy.fields]
    if "message-id" not in names:
        lines.append(folded("Message-ID", message_id))
    if "date" not in names:
        lines.append(folded("Date", format_datetime(received_at)))
    lines += _list_lines(list_headers)
    return b"".join([*lines, b"\r\n", *copy.body])


def _list_lines(list_headers: ListHeaders) -> list[bytes]:
    """RFC 2919, RFC 2369, and the marks by which other programs and other lists know list mail."""
    name = encode_phrase(list_headers.display_name)
    post = "NO" if list_headers.is_announcement else f"<mailto:{_mailto(list_headers, '')}>"
    return [
        folded("List-Id", f"{name} <{list_headers.list_id}>" if name else f"<{list_headers.list_id}>"),
        folded("List-Post", post),
        folded("List-Help", f"<mailto:{_mailto(list_headers, '-request')}?subject=help>"),
        folded("List-Subscribe", f"<mailto:{_mailto(list_headers, '-join')}>"),
        folded("List-Unsubscribe", f"<mailto:{_mailto(list_headers, '-leave')}>"),
        folded("List-Owner", f"<mailto:{_mailto(list_headers, '-owner')}>"),
        folded("Precedence", "list"),
        # Kept by lists that pass the post on: the way a post that comes back is known.
        folded("X-Loop", list_headers.address),
    ]


def _mailto(list_headers: ListHeaders, suffix: str) -> str:
    return f"{quote(list_headers.name + suffix, safe='')}@{quote(list_headers.domain, safe='')}"
