"""The list's prefix in a Subject: put there once, however often the subject comes back."""

from __future__ import annotations

import re

from shared.mail.headers import Field, folded
from shared.mail.words import encode_text, encoded_words

#: RFC 2047 §2: a line with encoded words.
_LINE = 76
# What programs put before the subject of an answer: "Re:", "AW: ", "Antw:", "RE[2]:", "Re (3):", "SV:", "回复：", and
# what others mark it with: "[EXTERNAL]", "(was)".
_MARK = re.compile(
    r"(?:[^\W\d_]{1,8}\s?(?:\[\d{1,3}\]|\(\d{1,3}\)|\^\d{1,3})?\s?[:\uff1a]|\[[^\[\]]{0,60}\]|\([^()]{0,60}\))\s*"
)
_MAX_MARKS = 20


def prefixed(field: Field | None, prefix: str) -> bytes:
    """The Subject with the prefix: the field as it is when it has it, else the author's own bytes behind the prefix.

    `prefix` is on one line, without white space at its ends, and not empty.
    """
    if field is None:
        return folded("Subject", encode_text(prefix))
    if has_prefix(field.text, prefix):
        return field.raw
    name, _, value = field.raw.partition(b":")
    written = encode_text(prefix)
    value = value.lstrip(b" \t\r\n")
    if written.startswith("=?") and value.startswith(b"=?"):
        # White space between two encoded words is not shown (RFC 2047 §6.2).
        written = encoded_words(f"{prefix} ")
    begin = folded(name.rstrip(b" \t").decode("ascii"), written)
    if not value:
        return begin
    begin = begin.removesuffix(b"\r\n")
    last_line = len(begin) - (begin.rfind(b"\n") + 1)
    first_line = len(value.partition(b"\r\n")[0])
    return begin + (b" " if last_line + 1 + first_line <= _LINE else b"\r\n ") + value


def has_prefix(subject: str, prefix: str) -> bool:
    """Whether the decoded `subject` begins with the prefix, in any case, or has it behind marks of answers."""
    rest, wanted = _plain(subject), _plain(prefix)
    for _ in range(_MAX_MARKS):
        if rest.startswith(wanted) and not (wanted[-1:].isalnum() and rest[len(wanted) :][:1].isalnum()):
            return True
        mark = _MARK.match(rest)
        if mark is None:
            return False
        rest = rest[mark.end() :]
    return False


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
