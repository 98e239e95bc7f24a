"""A digest that is one text (RFC 1153)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from shared.mail.digest.issue import LINE, Issue, topic_of
from shared.mail.digest.readable import readable_text
from shared.mail.headers import STORED, Field, Header, folded, scan
from shared.mail.lines import MAX_LINE_OCTETS, has_line_longer_than
from shared.mail.transfer_encoding import quoted_printable

#: What is kept of a post's header, in this order.
KEPT_FIELDS = ("Date", "From", "To", "Cc", "Subject", "Message-ID", "Keywords", "Summary")
_PRINTABLE = re.compile(rb"[\t\r\n -~]*")
_AFTER_PREAMBLE = "-" * 70
_BETWEEN_POSTS = "-" * 30


@dataclass(frozen=True, slots=True)
class PlainPost:
    """A post as it stands in the text."""

    topic: str
    text: str


def plain_post(content: bytes) -> PlainPost:
    """The post `content`, lines ended by CR LF, with what it carries beside its text as notes; it never fails for what
    an author wrote."""
    header = scan(content, STORED)
    fields = header.fields if isinstance(header, Header) else ()
    lines = [_written(name, field) for name in KEPT_FIELDS for field in fields if field.name == name.lower()]
    return PlainPost(topic_of(content), "\n".join([*lines, "", _unseparated(readable_text(content))]))


def compose_plain(issue: Issue, posts: Sequence[PlainPost]) -> bytes:
    """The message, its lines ended by CR LF, in seven bits."""
    ending = f"End of {issue.title}"
    sections = [post.text for post in posts]
    if issue.footer_text:
        sections.append(f"Subject: Digest Footer\n\n{_unseparated(issue.footer_text)}")
    preamble = _unseparated(issue.preamble([post.topic for post in posts]))
    enclosed = "".join(f"{section}\n\n{_BETWEEN_POSTS}\n\n" for section in sections)
    text = f"{preamble}\n\n{_AFTER_PREAMBLE}\n\n{enclosed}{ending}\n{'*' * len(ending)}\n"
    lines = text.replace("\n", "\r\n").encode("utf-8", "replace")
    is_plain = lines.isascii() and not has_line_longer_than(MAX_LINE_OCTETS, lines)
    fields = [
        *issue.fields,
        folded("Content-Type", f"text/plain; charset={'us-ascii' if is_plain else 'utf-8'}"),
        folded("Content-Transfer-Encoding", "7bit" if is_plain else "quoted-printable"),
    ]
    return b"".join([*fields, b"\r\n", lines if is_plain else quoted_printable(text)])


def _written(name: str, field: Field) -> str:
    """The field as it is, with its continuation lines; decoded for the reader where it holds more than ASCII."""
    if _PRINTABLE.fullmatch(field.raw) and b"=?" not in field.raw:
        value = field.raw.partition(b":")[2].decode("ascii").replace("\r\n", "\n").strip()
        return f"{name}: {value}"
    return textwrap.fill(
        f"{name}: {field.text}", LINE + 8, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False
    )


def _unseparated(text: str) -> str:
    """The text without what a program would take for the end of a post."""
    lines = text.split("\n")
    return "\n".join(f" {line[1:]}" if line in (_BETWEEN_POSTS, _AFTER_PREAMBLE) else line for line in lines)
