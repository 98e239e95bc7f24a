"""The peer's replies in order, and our bytes to it with flow control: one SMTP connection as an asyncio protocol."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from shared.core.smtp_reply import Reply, ReplyParser

#: Replies nobody has read yet; more than a pipelined transaction can have asked for is an attack or a fault.
MAX_UNREAD_REPLIES = 16


class StreamEnded(Exception):
    """The connection gives no further reply; says why."""


class ReplyStream(asyncio.Protocol):
    """Takes over a connected transport. It never raises into the loop, and once `ended_because` is set it is dead.

    One reader at a time. A reply that came before the end can still be read after it.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.ended_because: str | None = None
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parser = ReplyParser()
        self._unread: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        transport.set_protocol(self)
        if transport.is_closing():
            self.end("connection closed by the remote")

    @property
    def has_unread(self) -> bool:
        """True when the peer has said something that was not yet read, be it half a reply."""
        return bool(self._unread) or self._parser.is_inside_a_reply

    @property
    def has_reply(self) -> bool:
        return bool(self._unread)

    async def reply(self, timeout_seconds: float) -> Reply:
        """The next reply. Raises `StreamEnded` when none comes; silence longer than the timeout ends the stream."""
        while not self._unread:
            if self.ended_because is not None:
                raise StreamEnded(self.ended_because)
            await self._something(timeout_seconds)
        return self._unread.popleft()

    def write(self, data: bytes | memoryview) -> None:
        if self.ended_because is None:
            self._transport.write(data)

    def write_all(self, pieces: Sequence[bytes]) -> None:
        if self.ended_because is None:
            self._transport.writelines(pieces)

    async def room(self, timeout_seconds: float) -> None:
        """Returns when the peer takes more bytes, has said something, or is gone; look which."""
        while self._is_paused and not self._unread and self.ended_because is None:
            await self._something(timeout_seconds)

    def end(self, because: str) -> None:
        """Drops the connection; the first reason given stays."""
        if self.ended_because is None:
            self.ended_because = because
            self._transport.abort()
        self._wake()

    async def _something(self, timeout_seconds: float) -> None:
        # One timer a wait, which ends the stream by itself: `asyncio.wait_for` costs several times as much.
        timer = self._loop.call_later(timeout_seconds, self.end, f"no answer within {timeout_seconds:g} s")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the loop calls.

    def data_received(self, data: bytes) -> None:
        if self.ended_because is not None:
            return
        self._unread.extend(self._parser.feed(data))
        if self._parser.fault is not None:
            self.end(self._parser.fault)
        elif len(self._unread) > MAX_UNREAD_REPLIES:
            self.end("replies that nobody asked for")
        elif self._unread:
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
