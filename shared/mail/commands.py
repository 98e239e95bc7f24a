"""Commands to a list, read from the subject and the first text of a message: bounded, linear, and never failing.

One command a line: `join`, `leave`, `set mail|digest|nomail`, `set digest mime|plain`, `confirm TOKEN`, `which`,
`help`; `end` ends them, and so does a signature or a quoted message. What is quoted is not read, neither by `>` nor by
HTML's blockquote.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from enum import StrEnum

from shared.core.digest import DigestFormat
from shared.core.membership import DeliveryMode
from shared.mail.headers import STORED, Header, scan
from shared.mail.lines import with_crlf
from shared.mail.parts import text_parts
from shared.mail.segments import text_of

#: Of a message, so many bytes are read, of its text so many characters, and of its commands so many count.
MAX_BYTES = 256 * 1024
MAX_CHARACTERS = 16 * 1024
MAX_COMMANDS = 10
#: Prose is not searched for commands.
MAX_STRANGE_LINES = 10

_REPLY_PREFIX = re.compile(r"^(?:(?:re|aw|sv|vs|antw|fwd?|wg|tr|rif|r)(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_QUOTE = re.compile(r"^\s*[>|]")
#: What stands before a quoted message, or ends one's own words; Outlook quotes below the fields, without any mark.
_REST = re.compile(
    r"^(?:-- ?|_{10,}|-{3,} ?\S.*-{3,}"
    r"|.*\b(?:wrote|écrit|escribió|escreveu|scrive|scritto)\s*:|.*\b(?:schrieb|schreef|skrev)\b.*:"
    r"|\*?(?:From|Von|De|Da|Van|Från|Fra)\s?:\*?\s.*)$"
)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,20})[^<>]*>|<[^<>]*>")
_SPACES = re.compile(r"\s+")
#: Elements whose content is not what somebody wrote here.
_HIDDEN = frozenset({"blockquote", "style", "script", "head", "title"})
#: Elements that begin or end a line.
_BLOCKS = frozenset({"br", "p", "div", "li", "ul", "ol", "tr", "td", "table", "pre", "h1", "h2", "h3", "body"})


class CommandKind(StrEnum):
    """What a command is."""

    JOIN = "join"
    LEAVE = "leave"
    SET = "set"
    CONFIRM = "confirm"
    WHICH = "which"
    HELP = "help"


_WORDS = {kind.value: kind for kind in CommandKind} | {
    "subscribe": CommandKind.JOIN,
    "unsubscribe": CommandKind.LEAVE,
    "signoff": CommandKind.LEAVE,
}
_END = frozenset({"end", "stop", "quit", "exit"})


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    kind: CommandKind
    #: For `SET`.
    mode: DeliveryMode | None = None
    #: For `SET` to digests, where it is said.
    digest_format: DigestFormat | None = None
    #: For `CONFIRM`; letters and digits, lower-case.
    token: str = ""


@dataclass(frozen=True, slots=True)
class Commands:
    """What a message asks for."""

    commands: tuple[Command, ...]
    #: Lines that are none.
    strange_lines: int


def read_commands(content: bytes) -> Commands:
    """The commands of a message, those of the subject first, none twice."""
    content = with_crlf(content[:MAX_BYTES])
    header = scan(content, STORED)
    if not isinstance(header, Header):
        return Commands((), 0)
    subject = header.first("subject")
    commands: list[Command] = []
    from_subject = _command(_REPLY_PREFIX.sub("", subject.text[:1000].strip())) if subject else None
    if isinstance(from_subject, Command):
        commands.append(from_subject)
    strange_lines = 0
    for line in _own_lines(_text(content)):
        command = _command(line)
        if isinstance(command, Command):
            if command not in commands:
                commands.append(command)
        elif command is _ENDS:
            break
        else:
            strange_lines += 1
        if len(commands) >= MAX_COMMANDS or strange_lines >= MAX_STRANGE_LINES:
            break
    return Commands(tuple(commands), strange_lines)


_ENDS = object()


def _command(line: str) -> Command | object | None:
    words = line.lower().split(maxsplit=4)
    if not words:
        return None
    first = words[0].rstrip(".,;:!")
    if first in _END:
        return _ENDS
    kind = _WORDS.get(first)
    if kind is CommandKind.SET:
        return _setting(" ".join(words[1:]).rstrip(".,;:!"))
    if kind is CommandKind.CONFIRM:
        token = words[1] if len(words) == 2 else ""
        return Command(kind, token=token) if token.isascii() and token.isalnum() and len(token) <= 100 else None
    # `join the dots` is prose.
    return Command(kind) if kind and len(words) == 1 else None


def _setting(choice: str) -> Command | None:
    mode, _, digest_format = choice.partition(" ")
    if mode == DeliveryMode.DIGEST and digest_format in set(DigestFormat):
        return Command(CommandKind.SET, mode=DeliveryMode.DIGEST, digest_format=DigestFormat(digest_format))
    return Command(CommandKind.SET, mode=DeliveryMode(choice)) if choice in set(DeliveryMode) else None


def _own_lines(text: str) -> list[str]:
    """The lines that stand there before anything quoted ends them, without empty and quoted ones."""
    own: list[str] = []
    for line in text[:MAX_CHARACTERS].splitlines():
        if _REST.match(line.strip()[:300]):
            break
        if line.strip() and not _QUOTE.match(line):
            own.append(line.strip())
    return own


def _text(content: bytes) -> str:
    """The first text that can be read: a plain one, or else one in HTML."""
    parts = text_parts(content)
    for part in sorted(parts, key=lambda part: part.is_html):
        text = text_of(content, part)
        if text is not None:
            return _from_html(text[: 4 * MAX_CHARACTERS]) if part.is_html else text
    return ""


def _from_html(source: str) -> str:
    """What is written there, in lines, without what is quoted."""
    pieces: list[str] = []
    hidden, position = 0, 0
    for tag in _TAG.finditer(source):
        if not hidden:
            pieces.append(_SPACES.sub(" ", source[position : tag.start()]))
        position = tag.end()
        name = (tag[2] or "").lower()
        if name in _HIDDEN:
            hidden = max(0, hidden - 1) if tag[1] else hidden + 1
            pieces.append("\n")
        elif name in _BLOCKS:
            pieces.append("\n")
    if not hidden:
        pieces.append(_SPACES.sub(" ", source[position:]))
    return html.unescape("".join(pieces))
