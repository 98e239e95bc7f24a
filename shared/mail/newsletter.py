"""A newsletter as one message: composed once, with its merge fields as they are written, and compiled as posts are.

Texts are quoted-printable and files are base64, and neither can hold `=_`: so no boundary stands in any part, and a
message is the same whenever it is composed of the same.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import quote

from shared.mail.headers import folded
from shared.mail.html_text import text_of_html
from shared.mail.transfer_encoding import base64_octets, quoted_printable
from shared.mail.words import encode_phrase, encode_text

_HIDDEN = "display:none;max-height:0;max-width:0;opacity:0;overflow:hidden;font-size:1px;line-height:1px;mso-hide:all"
# Behind these, the first thing that is shown may stand.
_BEGIN_OF_CONTENT = (
    re.compile(r"<body(?=[\s/>])", re.IGNORECASE),
    re.compile(r"</head(?=[\s/>])", re.IGNORECASE),
    re.compile(r"<html(?=[\s/>])", re.IGNORECASE),
    re.compile(r"<!doctype(?=[\s>])", re.IGNORECASE),
)
_BRACES = re.compile(r"(\{\{[^{}]*\}\})")
# These are to be sent in no other encoding than their own (RFC 2046 §5.2.1, RFC 2045 §6.4).
_COMPOSITE = re.compile(r"(?:message|multipart)/", re.IGNORECASE)
# Of a parameter's value (RFC 2231 §3), not cut within an octet.
_NAME_PIECE = re.compile(r"(?:%..|[^%]){1,18}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$&+^_`{}~.-]{1,60}")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with it, or an image that its HTML shows."""

    #: Without control characters, not empty.
    file_name: str
    #: `type/subtype`.
    content_type: str
    #: What the HTML calls it, `cid:logo`; empty for a file.
    content_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """What an author wrote, ready to be composed. Addresses are ASCII."""

    from_name: str
    from_address: str
    #: Where an answer goes; `None`: to the sender.
    reply_to_address: str | None
    #: Whom it is addressed to: the list.
    to_name: str
    to_address: str
    subject: str
    #: What mail programs show behind the subject; empty for none. It stands, hidden, in the HTML.
    preheader: str
    #: Empty: it is made from the HTML.
    text: str
    #: Empty: there is a text only.
    html: str
    attachments: Sequence[Attachment] = ()


def compose(letter: Letter, *, message_id: str, written_at: datetime) -> bytes:
    """The message, its lines ended by CR LF, in seven bits. `message_id` has its angle brackets.

    The same arguments give the same bytes.
    """
    fields = [
        folded("From", _mailbox(letter.from_name, letter.from_address)),
        folded("Reply-To", letter.reply_to_address) if letter.reply_to_address else b"",
        folded("To", _mailbox(letter.to_name, letter.to_address)),
        folded("Subject", encode_text(letter.subject)),
        folded("Date", format_datetime(written_at)),
        folded("Message-ID", message_id),
        folded("MIME-Version", "1.0"),
    ]
    mark = hashlib.sha256(message_id.encode()).hexdigest()[:24]
    images = [_file(each) for each in letter.attachments if each.content_id and letter.html]
    files = [_file(each) for each in letter.attachments if not (each.content_id and letter.html)]
    body = _text_part("plain", text_as_sent(letter))
    if letter.html:
        body = _multipart("alternative", [body, _text_part("html", html_as_sent(letter))], mark)
    if images:
        body = _multipart("related", [body, *images], mark, '; type="multipart/alternative"')
    if files:
        body = _multipart("mixed", [body, *files], mark)
    return b"".join([*fields, body])


def text_as_sent(letter: Letter) -> str:
    """What readers without HTML get."""
    return letter.text if letter.text.strip() or not letter.html else text_of_html(letter.html)


def html_as_sent(letter: Letter) -> str:
    """The HTML with the preheader in it."""
    if not letter.preheader:
        return letter.html
    # What stands between braces is not the author's text: a condition's quotation marks are to stay.
    pieces = _BRACES.split(letter.preheader)
    hidden = "".join(piece if number % 2 else html.escape(piece) for number, piece in enumerate(pieces))
    at = _begin_of_content(letter.html)
    return f'{letter.html[:at]}<div style="{_HIDDEN}">{hidden}</div>{letter.html[at:]}'


def _begin_of_content(text: str) -> int:
    """Where the first thing that is shown begins. A comment's tags count: a hidden line does no harm there."""
    for begin in _BEGIN_OF_CONTENT:
        found = begin.search(text)
        end = text.find(">", found.end()) if found else -1
        if end >= 0:
            return end + 1
    return 0


def _mailbox(name: str, address: str) -> str:
    phrase = encode_phrase(name)
    return f"{phrase} <{address}>" if phrase else address


def _text_part(subtype: str, text: str) -> bytes:
    return b"".join(
        [
            folded("Content-Type", f"text/{subtype}; charset=utf-8"),
            folded("Content-Transfer-Encoding", "quoted-printable"),
            b"\r\n",
            quoted_printable(text if text.endswith("\n") else f"{text}\n"),
        ]
    )


def _file(attachment: Attachment) -> bytes:
    is_composite = _COMPOSITE.match(attachment.content_type)
    disposition = "inline" if attachment.content_id else "attachment"
    return b"".join(
        [
            folded("Content-Type", "application/octet-stream" if is_composite else attachment.content_type),
            folded("Content-Transfer-Encoding", "base64"),
            folded("Content-Disposition", f"{disposition}{_file_name(attachment.file_name)}"),
            folded("Content-ID", f"<{attachment.content_id}>") if attachment.content_id else b"",
            b"\r\n",
            base64_octets(attachment.content),
        ]
    )


def _file_name(name: str) -> str:
    """The parameter, in pieces where it is long (RFC 2231 §3 and §4)."""
    if _PLAIN_NAME.fullmatch(name):
        return f'; filename="{name}"'
    pieces = _NAME_PIECE.findall(f"utf-8''{quote(name.encode('utf-8', 'replace'), safe='')}")
    if len(pieces) == 1:
        return f"; filename*={pieces[0]}"
    return "".join(f"; filename*{number}*={piece}" for number, piece in enumerate(pieces))


def _multipart(subtype: str, parts: Sequence[bytes], mark: str, parameters: str = "") -> bytes:
    boundary = f"=_{subtype}_{mark}"
    delimiter = f"--{boundary}".encode()
    return b"".join(
        [
            folded("Content-Type", f'multipart/{subtype}; boundary="{boundary}"{parameters}'),
            *(b"\r\n" + delimiter + b"\r\n" + part for part in parts),
            b"\r\n" + delimiter + b"--\r\n",
        ]
    )
