"""A digest whose posts are whole: a multipart/digest (RFC 2046 §5.1.5), with texts before and behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from shared.mail.digest.issue import Issue, topic_of
from shared.mail.headers import folded, has_utf8_header
from shared.mail.lines import MAX_LINE_OCTETS, has_line_longer_than
from shared.mail.transfer_encoding import quoted_printable


def compose_mime(issue: Issue, posts: Sequence[bytes]) -> bytes:
    """The message, its lines ended by CR LF; each of the posts stands in it to the byte."""
    preamble = issue.preamble([topic_of(post) for post in posts])
    ending = f"End of {issue.title}\n"
    has_8bit = not all(post.isascii() for post in posts)
    outer, inner = _boundaries(issue, posts)
    digest = [_multipart("digest", inner, has_8bit=has_8bit), b"\r\n"]
    for post in posts:
        digest += [b"--%b\r\n" % inner, _message_fields(post), b"\r\n", post, b"\r\n"]
    digest.append(b"--%b--\r\n" % inner)
    parts = [
        [_text_part(preamble)],
        digest,
        [_text_part(f"{issue.footer_text}\n\n{ending}" if issue.footer_text else ending)],
    ]
    body = [piece for part in parts for piece in (b"--%b\r\n" % outer, *part, b"\r\n")]
    head = [*issue.fields, _multipart("mixed", outer, has_8bit=has_8bit), b"\r\n"]
    return b"".join([*head, *body, b"--%b--\r\n" % outer])


def _multipart(subtype: str, boundary: bytes, *, has_8bit: bool) -> bytes:
    content_type = folded("Content-Type", f'multipart/{subtype}; boundary="{boundary.decode()}"')
    return content_type + (folded("Content-Transfer-Encoding", "8bit") if has_8bit else b"")


def _message_fields(post: bytes) -> bytes:
    """A header beyond ASCII makes another type of it (RFC 6532 §3.7)."""
    content_type = folded("Content-Type", "message/global" if has_utf8_header(post) else "message/rfc822")
    return content_type + (b"" if post.isascii() else folded("Content-Transfer-Encoding", "8bit"))


def _text_part(text: str) -> bytes:
    lines = text.replace("\n", "\r\n").encode("utf-8", "replace")
    is_plain = lines.isascii() and not has_line_longer_than(MAX_LINE_OCTETS, lines)
    fields = folded("Content-Type", f"text/plain; charset={'us-ascii' if is_plain else 'utf-8'}")
    fields += folded("Content-Transfer-Encoding", "7bit" if is_plain else "quoted-printable")
    return fields + b"\r\n" + (lines if is_plain else quoted_printable(text))


def _boundaries(issue: Issue, posts: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Two that no post holds; the same digest has the same."""
    drawn = hashlib.sha256(issue.message_uuid.bytes).hexdigest()
    while any(drawn[:32].encode() in post for post in posts):
        drawn = hashlib.sha256(drawn.encode()).hexdigest()
    return f"outer-{drawn[:32]}".encode(), f"inner-{drawn[:32]}".encode()
