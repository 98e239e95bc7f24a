"""A report's text for people, cut from the message that it returns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from shared.mail.dsn.phrases import RETURNED

MAX_LINES = 1000
MAX_LINE_CHARACTERS = 600
#: Framing characters before and after a heading.
_FRAME = " \t\r>|*=+#_~<-:."
_FRAMED = re.compile(r"^\s*(?:[-=_*+#~|]{2,}|\|-{2,}).*\w")
_FIELD = re.compile(r"^(?:[A-Z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*|X-[\w-]+):(?:\s|$)")
_TELLING_FIELD = re.compile(
    r"^(?:received|return-path|message-id|mime-version|dkim-signature|x-mailer|content-type|delivered-to|date):",
    re.IGNORECASE,
)
#: Headings over what is still the notice.
_OTHER_HEADINGS = re.compile(
    r"session|address(?:es)?\b|recipient|\blog\b|transcript|reason|problem|error|detail", re.IGNORECASE
)
#: Lines of a header, so many of these in a row, begin a returned message without any heading.
_RUN_OF_FIELDS = 3
_HEADING_CHARACTERS = 120
_REPLY = re.compile(r"(?<![\w.:/#-])[45]\d\d[ -].{3}|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])")
_MAX_REPLIES = 6


@dataclass(frozen=True)
class Notice:
    """Line by line, what the server says of itself, and what it returns."""

    lines: tuple[str, ...]
    returned: tuple[str, ...]

    @cached_property
    def text(self) -> str:
        return "\n".join(self.lines)

    @cached_property
    def replies(self) -> str:
        """The first lines that look like a server's reply."""
        return " ".join([line.strip() for line in self.lines if _REPLY.search(line)][:_MAX_REPLIES])


def notice_of(text: str) -> Notice:
    """The text cut where the returned message begins: at a heading that says so, or at a run of header fields."""
    lines = [line[:MAX_LINE_CHARACTERS].rstrip() for line in text.split("\n", MAX_LINES)[:MAX_LINES]]
    for at, line in enumerate(lines):
        if _begins_returned(line) and (at > 0 or len(lines) < 3):
            return Notice(tuple(lines[:at]), tuple(lines[at + 1 :]))
        if _TELLING_FIELD.match(line) and _is_run_of_fields(lines, at):
            return Notice(tuple(lines[:at]), tuple(lines[at:]))
    return Notice(tuple(lines), ())


def _begins_returned(line: str) -> bool:
    if len(line) > _HEADING_CHARACTERS:
        return False
    bare = line.strip(_FRAME)
    if not bare or "@" in bare:
        return False
    is_framed = _FRAMED.match(line) is not None
    # In prose the words begin the line and end soon after.
    return (
        RETURNED.are_in(bare) if is_framed else len(bare) < 80 and RETURNED.begin(bare)
    ) and not _OTHER_HEADINGS.search(bare)


def _is_run_of_fields(lines: list[str], at: int) -> bool:
    fields = 0
    for line in lines[at : at + 20]:
        if _FIELD.match(line):
            fields += 1
        elif not line.startswith((" ", "\t")):
            break
    return fields >= _RUN_OF_FIELDS
