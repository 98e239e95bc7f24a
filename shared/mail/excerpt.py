"""The beginning of a message's text, for who has to judge it."""

from __future__ import annotations

from shared.mail.lines import with_crlf
from shared.mail.parts import text_parts
from shared.mail.segments import text_of

#: What of a message is looked at.
MAX_BYTES = 256 * 1024
MAX_CHARACTERS = 2000
MAX_LINES = 30


def excerpt(content: bytes) -> str:
    """The first lines of the first plain text that can be read, or of the HTML as it is; empty when there is none."""
    content = with_crlf(content[:MAX_BYTES])
    for part in sorted(text_parts(content), key=lambda part: part.is_html):
        text = text_of(content, part)
        if text is not None:
            return "\n".join(text[:MAX_CHARACTERS].splitlines()[:MAX_LINES])
    return ""
