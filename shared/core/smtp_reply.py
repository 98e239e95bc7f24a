"""SMTP replies (RFC 5321 §4.2) with their enhanced status codes (RFC 3463)."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What is kept of one reply's text, in octets of UTF-8.
MAX_REPLY_TEXT = 1000

_ENHANCED = re.compile(r"^([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply; a reply of several lines has its texts joined by newlines."""

    code: int
    text: str

    @property
    def enhanced_status(self) -> str | None:
        """The RFC 3463 code at the start of the text, `None` when the server gave none."""
        found = _ENHANCED.match(self.text)
        return found.group(0) if found else None

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code < 600

    @property
    def is_about_volume(self) -> bool:
        """Whether it says "too much", or "not you", for now: 421 (RFC 5321 §3.8), 4.7.x and 4.4.x (RFC 3463)."""
        return self.is_transient and (self.code == 421 or (self.enhanced_status or "").startswith(("4.7.", "4.4.")))

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


def clean_text(text: str) -> str:
    """The remote's words, fit to be stored: no control characters (a NUL is refused by PostgreSQL), at most 1 kB."""
    return _UNPRINTABLE.sub("?", text).encode("utf-8", "replace")[:MAX_REPLY_TEXT].decode("utf-8", "ignore")


#: Bounds of one reply. RFC 5321 §4.5.3.1.5 knows lines of 512 octets; no honest reply comes near these.
MAX_REPLY_BYTES = 65_536
MAX_REPLY_LINES = 100

#: Every code that a reply can have.
_CODES = {b"%d" % code: code for code in range(200, 600)}
_BLANKS = b" \t\r\n"

#: What is shown of a line that is no reply.
_SHOWN_OF_GARBAGE = 40


class ReplyParser:
    """Cuts a peer's byte stream into replies, with memory bounded by one chunk and `MAX_REPLY_BYTES`.

    Anything that is no SMTP reply sets `fault`; the replies before it are still good, nothing after it is read.
    Lines may end in a bare LF, and a reply of several lines has its last line's code, as other clients read them.
    """

    __slots__ = ("_heard", "_heard_replies", "_incomplete_line", "_lines", "_reply_bytes", "fault")

    def __init__(self) -> None:
        #: Why the stream can no longer be read, one short sentence; `None` while it can.
        self.fault: str | None = None
        self._incomplete_line = b""
        self._lines: list[bytes] = []
        self._reply_bytes = 0
        #: The last bytes that held several whole replies: to each pipelined envelope a server says the same again.
        self._heard = b""
        self._heard_replies: list[Reply] = []

    @property
    def is_inside_a_reply(self) -> bool:
        return bool(self._incomplete_line or self._lines)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes, in order; the list is not to be changed."""
        if self.fault is not None:
            return []
        if self._incomplete_line or self._lines:
            return self._read(data)
        if data == self._heard:
            return self._heard_replies
        if data[3:4] == b" " and data[:3] in _CODES and data.find(b"\n") == len(data) - 1 <= MAX_REPLY_TEXT:
            return [Reply(_CODES[data[:3]], _cleaned(data[4:]))]
        replies = self._read(data)
        if len(replies) > 1 and self.fault is None and not self.is_inside_a_reply:
            self._heard, self._heard_replies = data, replies
        return replies

    def _read(self, data: bytes) -> list[Reply]:
        replies: list[Reply] = []
        lines = (self._incomplete_line + data if self._incomplete_line else data).split(b"\n")
        self._incomplete_line = lines.pop()
        for line in lines:
            self._reply_bytes += len(line) + 1
            code, separator = _CODES.get(line[:3]), line[3:4].rstrip(b"\r")
            if code is None or separator not in (b"", b" ", b"-"):
                self._break(f"not an SMTP reply: {_shown(line)}")
                return replies
            self._lines.append(line)
            if self._is_too_long():
                return replies
            if separator != b"-":
                replies.append(Reply(code, _cleaned(b"\n".join([line[4:].strip(_BLANKS) for line in self._lines]))))
                self._lines.clear()
                self._reply_bytes = 0
        self._is_too_long()
        return replies

    def _is_too_long(self) -> bool:
        if len(self._lines) > MAX_REPLY_LINES or self._reply_bytes + len(self._incomplete_line) > MAX_REPLY_BYTES:
            self._break(f"a reply of more than {MAX_REPLY_BYTES} bytes or {MAX_REPLY_LINES} lines")
            return True
        return False

    def _break(self, fault: str) -> None:
        self.fault = fault
        self._incomplete_line = b""
        self._lines.clear()


def _cleaned(words: bytes) -> str:
    text = words.strip(_BLANKS).decode("utf-8", "replace")
    if len(words) <= MAX_REPLY_TEXT and text.isprintable():  # nearly every reply: one line of plain words
        return text
    return clean_text(text)


def _shown(line: bytes) -> str:
    return clean_text(line.rstrip(b"\r")[:_SHOWN_OF_GARBAGE].decode("utf-8", "replace"))
