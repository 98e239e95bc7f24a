"""The peer's replies in order, and our bytes to it with flow control: one SMTP connection as an asyncio protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from shared.core.smtp_reply import Reply, ReplyParser

#: Replies nobody has read yet; more than a pipelined transaction can have asked for (RSET, MAIL, 100 RCPT, DATA) is an
#: attack or a fault.
MAX_UNREAD_REPLIES = 110
#: The system's own value, which is none.
_NO_LOWAT = 0


class StreamEnded(Exception):
    """The connection gives no further reply; says why."""


class ReplyStream(asyncio.Protocol):
    """Takes over a connected transport. It never raises into the loop, and once `ended_because` is set it is dead.

    One reader at a time. A reply that came before the end can still be read after it.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.ended_because: str | None = None
        #: Whole replies that nobody has read, in order; a reader takes them off.
        self.unread: list[Reply] = []
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parser = ReplyParser()
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self._keeps_unsent: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: When the wait is over, and how long it was to be.
        self._deadline_seconds = 0.0
        self._timeout_seconds = 0.0
        transport.set_protocol(self)
        if transport.is_closing():
            self.end("connection closed by the remote")

    @property
    def has_unread(self) -> bool:
        """True when the peer has said something that was not yet read, be it half a reply."""
        return bool(self.unread) or self._parser.is_inside_a_reply

    @property
    def is_inside_a_reply(self) -> bool:
        """True when half a reply has come."""
        return self._parser.is_inside_a_reply

    async def reply(self, timeout_seconds: float) -> Reply:
        """The next reply. Raises `StreamEnded` when none comes; silence longer than the timeout ends the stream."""
        await self.something(timeout_seconds)
        if self.unread:
            return self.unread.pop(0)
        raise StreamEnded(self.ended_because)

    async def something(self, timeout_seconds: float) -> None:
        """Returns when there is a whole reply, or the stream has ended; the timeout ends it."""
        while not self.unread and self.ended_because is None:
            await self._wait(timeout_seconds)

    def write(self, data: bytes | memoryview) -> None:
        if self.ended_because is None:
            self._transport.write(data)

    def write_all(self, pieces: Sequence[bytes]) -> None:
        if self.ended_because is None:
            self._transport.writelines(pieces)

    def keep_unsent(self, at_most_bytes: int | None) -> None:
        """From now on there is `room` only while hardly anything written is still unsent, so that no slow peer makes a
        store of bytes that goes out at once; `None`: as the system likes it."""
        if at_most_bytes == self._keeps_unsent or self.ended_because is not None:
            return
        self._keeps_unsent = at_most_bytes
        # 0 would not do: asyncio's TLS then pauses at an empty buffer, and nothing wakes it.
        self._transport.set_write_buffer_limits(None if at_most_bytes is None else 1)
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, at_most_bytes or _NO_LOWAT)

    async def room(self, timeout_seconds: float) -> None:
        """Returns when the peer takes more bytes, has said something, or is gone; look which."""
        while self._is_paused and not self.unread and self.ended_because is None:
            await self._wait(timeout_seconds)

    def end(self, because: str) -> None:
        """Drops the connection; the first reason given stays."""
        if self.ended_because is None:
            self.ended_because = because
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    async def _wait(self, timeout_seconds: float) -> None:
        # No task and no timer a wait, as `asyncio.timeout` would make: the one timer that runs looks at the deadline
        # of its day, and only one that would come too late is set anew.
        self._timeout_seconds = timeout_seconds
        self._deadline_seconds = self._loop.time() + timeout_seconds
        if self._timer is None or self._timer.when() > self._deadline_seconds:
            self._set_timer()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline_seconds, self._look_at_the_deadline)

    def _look_at_the_deadline(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._deadline_seconds:
            self.end(f"no answer within {self._timeout_seconds:g} s")
        else:
            self._set_timer()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the loop calls.

    def data_received(self, data: bytes) -> None:
        if self.ended_because is not None:
            return
        self.unread += self._parser.feed(data)
        if self._parser.fault is not None:
            self.end(self._parser.fault)
        elif len(self.unread) > MAX_UNREAD_REPLIES:
            self.end("replies that nobody asked for")
        elif self.unread:
            self._wake()

    def eof_received(self) -> None:
        self.end("connection closed by the remote")

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self.end("connection closed by the remote")
        else:
            self.end(f"connection lost ({exc.strerror if isinstance(exc, OSError) else exc})")

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._wake()
