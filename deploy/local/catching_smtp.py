"""An SMTP server that takes every message and passes it on to nobody: under the demo inbox and the tests' sink.

Fast rather than complete: it reads bytes, answers pipelined commands in one write, and checks no syntax.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

#: What a session may send, in bytes, without our finding the end of a line in it.
_MAX_LINE_BYTES = 1 << 16
_MAX_MESSAGE_BYTES = 64 << 20
_EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", f"SIZE {_MAX_MESSAGE_BYTES}")

_session_ids = itertools.count(1)


@dataclass(slots=True)
class Session:
    """One connection; `client` is the name the client gave with EHLO."""

    id: int
    client: str = ""


@dataclass(slots=True)
class CaughtMessage:
    """One transaction. Times are seconds of the monotonic clock; `answered_seconds` is set when our 250 was written."""

    session: Session
    sender: str
    recipients: list[str] = field(default_factory=list)
    content: bytes = b""
    received_seconds: float = 0.0
    answered_seconds: float | None = None


class MailCatcher:
    """What one server does with what it catches; the base takes everything and keeps nothing."""

    #: How long every reply is held back, unless `hold_seconds` says otherwise.
    latency_seconds = 0.0

    def opened(self, session: Session) -> None:
        """A connection was accepted."""

    def closed(self, session: Session) -> None:
        """It ended, by whomever."""

    def content_came(self, session: Session, size_bytes: int) -> None:
        """So much of a message's content was read just now."""

    def reply_to_recipient(self, recipient: str) -> str | None:
        """A reply instead of 250."""

    def reply_to_message(self, message: CaughtMessage) -> str | None:
        """A reply instead of 250 to the final dot."""

    def caught(self, message: CaughtMessage) -> None:
        """A message was taken; our 250 is not written yet."""

    def answered(self, message: CaughtMessage) -> None:
        """Our 250 to it is written."""

    def hold_seconds(self, messages: Sequence[CaughtMessage]) -> float:  # noqa: ARG002
        """How long a reply is held back; `messages` are those that it answers with 250."""
        return self.latency_seconds

    def drops_after(self, message: CaughtMessage) -> bool:  # noqa: ARG002
        """Whether the connection is dropped now, without an answer to the message that was taken."""
        return False


async def serve(catcher: MailCatcher, host: str, port: int) -> asyncio.Server:
    """The server, accepting connections."""
    return await asyncio.get_running_loop().create_server(lambda: _Connection(catcher), host, port, backlog=1024)


class _Connection(asyncio.Protocol):
    def __init__(self, catcher: MailCatcher) -> None:
        self._catcher = catcher
        self._session = Session(next(_session_ids))
        self._buffer = bytearray()
        self._searched_bytes = 0
        self._is_in_content = False
        self._message: CaughtMessage | None = None
        self._replies: list[bytes] = []
        self._answered: list[CaughtMessage] = []
        self._is_leaving = False
        self._verbs = {
            b"EHLO": self._ehlo,
            b"HELO": self._helo,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"RSET": self._rset,
            b"NOOP": lambda _line: self._reply("250 2.0.0 OK"),
            b"QUIT": self._quit,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own
        self._catcher.opened(self._session)
        self._reply("220 catcher.listfleet.test ESMTP")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._catcher.closed(self._session)

    def data_received(self, data: bytes) -> None:
        if self._is_in_content:
            self._catcher.content_came(self._session, len(data))  # The next command comes only after our reply.
        self._buffer += data
        while not self._is_leaving and (self._take_content() if self._is_in_content else self._take_line()):
            pass
        self._flush()

    def _take_line(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                self._transport.abort()
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        verb = self._verbs.get(line[:4].upper())
        if verb is None:
            self._reply("500 5.5.1 Unknown command")
        else:
            verb(line)
        return True

    def _take_content(self) -> bool:
        """Content ends with CRLF . CRLF, whose first CRLF is the one after DATA when there is no content at all."""
        if self._buffer.startswith(b".\r\n"):
            self._end_content(0, 3)
            return True
        end = self._buffer.find(b"\r\n.\r\n", self._searched_bytes)
        if end < 0:
            self._searched_bytes = max(0, len(self._buffer) - 4)
            if len(self._buffer) > _MAX_MESSAGE_BYTES:
                self._transport.abort()
            return False
        self._end_content(end + 2, end + 5)
        return True

    def _end_content(self, content_end: int, next_command: int) -> None:
        message, self._message = self._message, None
        assert message is not None  # noqa: S101
        message.content = bytes(self._buffer[:content_end])
        if message.content.startswith(b".") or b"\r\n." in message.content:  # RFC 5321 §4.5.2
            message.content = message.content.removeprefix(b".").replace(b"\r\n.", b"\r\n")
        del self._buffer[:next_command]
        self._searched_bytes, self._is_in_content = 0, False
        message.received_seconds = time.monotonic()
        if reply := self._catcher.reply_to_message(message):
            self._reply(reply)
            return
        self._catcher.caught(message)
        if self._catcher.drops_after(message):
            self._is_leaving = True
            self._transport.abort()
            return
        self._answered.append(message)
        self._reply("250 2.0.0 Caught")

    def _ehlo(self, line: bytes) -> None:
        self._session.client = _text(line[4:])
        self._message = None
        lines = ["catcher.listfleet.test", *_EXTENSIONS]
        for text in lines[:-1]:
            self._reply(f"250-{text}")
        self._reply(f"250 {lines[-1]}")

    def _helo(self, line: bytes) -> None:
        self._session.client = _text(line[4:])
        self._message = None
        self._reply("250 catcher.listfleet.test")

    def _mail(self, line: bytes) -> None:
        self._message = CaughtMessage(self._session, _path(line))
        self._reply("250 2.1.0 OK")

    def _rcpt(self, line: bytes) -> None:
        if self._message is None:
            self._reply("503 5.5.1 MAIL first")
            return
        recipient = _path(line)
        refusal = self._catcher.reply_to_recipient(recipient)
        if refusal is None:
            self._message.recipients.append(recipient)
        self._reply(refusal or "250 2.1.5 OK")

    def _data(self, _line: bytes) -> None:
        if self._message is None or not self._message.recipients:
            self._reply("503 5.5.1 RCPT first")
            return
        self._is_in_content = True
        self._reply("354 Go on")

    def _rset(self, _line: bytes) -> None:
        self._message = None
        self._reply("250 2.0.0 OK")

    def _quit(self, _line: bytes) -> None:
        self._is_leaving = True
        self._reply("221 2.0.0 Bye")

    def _reply(self, text: str) -> None:
        self._replies.append(text.encode() + b"\r\n")

    def _flush(self) -> None:
        if not self._replies:
            return
        replies, answered = b"".join(self._replies), self._answered
        self._replies, self._answered = [], []
        if hold_seconds := self._catcher.hold_seconds(answered):
            loop = asyncio.get_running_loop()
            loop.call_later(hold_seconds, self._write, replies, answered, self._is_leaving)
        else:
            self._write(replies, answered, self._is_leaving)

    def _write(self, replies: bytes, answered: list[CaughtMessage], is_last: bool) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(replies)
        for message in answered:
            message.answered_seconds = time.monotonic()
            self._catcher.answered(message)
        if is_last:
            self._transport.close()


def _path(line: bytes) -> str:
    """What stands between the angle brackets."""
    return _text(line[line.find(b"<") + 1 : line.find(b">")])


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape").strip()
