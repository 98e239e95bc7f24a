"""Readers' connections: requests for links and images in their usual form are answered here, with few steps; from the
first request in any other form on, a connection is the application's, with all that came and was not answered.

Nothing is mended and nothing guessed. What is answered here has no content, no field twice that counts, and nothing
that two programs could read in two ways, so that a balancer in front finds its end at the same octet (RFC 9112 §11.2).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, cast

from services.tracking_api.tracking import PREFETCH_NAMES, Tracking, answer_to
from shared.contracts.events import ReadEvent

#: A connection is closed on which no whole request came for so long, however many of its octets did.
QUIET_SECONDS = 10.0
#: A header that is longer is left to the application, which refuses it.
MAX_HEADER_BYTES = 16 * 1024
#: What is read ahead of a request that waits for its answer.
_MAX_AHEAD_BYTES = 64 * 1024

# The end of a header, also in the form that only some programs take for one.
_END = re.compile(rb"\n\r?\n")
_REQUEST = re.compile(
    rb"(GET|HEAD) /(?:c/([0-9A-Fa-f]+)/([\w-]+)|o/([0-9A-Fa-f]+)\.gif)(?:\?[!-~]*)? HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~\w-]+:[\t -~\x80-\xff]*\r\n)+)\r\n",
    re.ASCII,
)
#: Fields that say where a request ends, or ask for more than an answer.
_OTHERS = frozenset((b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"te", b"trailer"))
_COUNTS = frozenset((b"host", b"user-agent", b"x-forwarded-for", *PREFETCH_NAMES))
_PHRASES = {200: b"OK", 302: b"Found"}

#: Whom a request came from: by the connection's own address, and what `X-Forwarded-For` says.
ClientOf = Callable[[str, str], str]


class Front(asyncio.Protocol):
    """One connection. Requests are answered in order, one at a time."""

    def __init__(
        self,
        tracking: Tracking,
        client_of: ClientOf,
        connections: set[Any],
        application: Callable[[], asyncio.Protocol],
    ) -> None:
        """`connections` are those that the server has to end; `application` makes what else serves a connection."""
        self._tracking = tracking
        self._client_of = client_of
        self._connections = connections
        self._application = application
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._peer = ""
        self._ahead = b""
        #: The request whose event is not safe yet: its octets, what it tells, and whether it asks for a content.
        self._waiting: tuple[bytes, ReadEvent, bool] | None = None
        self._is_blocked = self._is_paused = self._is_ending = False
        self._quiet_since_seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if peer else ""
        self._connections.add(self)
        self._quiet_since_seconds = self._loop.time()
        self._timer = self._loop.call_later(QUIET_SECONDS, self._look_whether_quiet)

    def connection_lost(self, _error: Exception | None) -> None:
        self._leave()

    def data_received(self, data: bytes) -> None:
        self._ahead = self._ahead + data if self._ahead else data
        if self._waiting is None and not self._is_blocked:
            self._go_on()
        elif len(self._ahead) > _MAX_AHEAD_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        if self._waiting is None:
            self._go_on()

    def shutdown(self) -> None:
        """End the connection, after the answer that is due."""
        self._is_ending = True
        if self._waiting is None:
            self._transport.close()

    def _go_on(self) -> None:
        """Take the next request, if it is here."""
        end = _END.search(self._ahead)
        if end is None:
            if len(self._ahead) > MAX_HEADER_BYTES:
                self._hand_over(self._ahead)
            return
        request, rest = self._ahead[: end.end()], self._ahead[end.end() :]
        read = self._read(request) if len(request) <= MAX_HEADER_BYTES else None
        if read is None:
            self._hand_over(self._ahead)
            return
        event, _ = read
        self._waiting, self._ahead = (request, *read), rest
        self._tracking.record(event).add_done_callback(self._answer)

    def _read(self, request: bytes) -> tuple[ReadEvent, bool] | None:
        """What the request tells and whether it asks for a content; `None` when it is the application's."""
        found = _REQUEST.fullmatch(request)
        if found is None:
            return None
        method, click, target, image, lines = found.groups()
        fields: dict[bytes, bytes] = {}
        for line in lines.splitlines():
            name, _, value = line.partition(b":")
            name = name.lower()
            if name in _OTHERS or (name in _COUNTS and name in fields):
                return None
            if name == b"connection" and value.strip().lower() != b"keep-alive":
                return None
            fields[name] = value
        if b"host" not in fields:
            return None
        peer, forwarded_for = self._peer, fields.get(b"x-forwarded-for")
        event = self._tracking.event_of(
            method.decode(),
            (click or image).decode(),
            target.decode() if target else None,
            agent=fields.get(b"user-agent", b"").decode("latin-1"),
            prefetch=[fields[name].decode("latin-1") for name in fields.keys() & PREFETCH_NAMES],
            peer=self._client_of(peer, forwarded_for.decode("latin-1")) if forwarded_for else peer,
        )
        return None if event is None else (event, method == b"GET")

    def _answer(self, recorded: asyncio.Future[None]) -> None:
        is_safe = recorded.exception() is None
        if self._waiting is None or self._transport.is_closing():
            return
        (request, event, with_content), self._waiting = self._waiting, None
        if not is_safe:
            self._hand_over(request + self._ahead)
            return
        self._transport.write(_written(event.url, int(time.time()), with_content=with_content))
        if self._is_ending:
            self._transport.close()
            return
        self._quiet_since_seconds = self._loop.time()
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        if self._ahead and not self._is_blocked:
            self._go_on()

    def _hand_over(self, octets: bytes) -> None:
        self._leave()
        if self._is_paused:
            self._transport.resume_reading()
        application = self._application()
        self._transport.set_protocol(application)
        application.connection_made(self._transport)
        application.data_received(octets)

    def _look_whether_quiet(self) -> None:
        left_seconds = self._quiet_since_seconds + QUIET_SECONDS - self._loop.time()
        if left_seconds <= 0 and self._waiting is None:
            self._transport.abort()
            return
        self._timer = self._loop.call_later(max(left_seconds, 1.0), self._look_whether_quiet)

    def _leave(self) -> None:
        self._connections.discard(self)
        self._waiting = None
        if self._timer is not None:
            self._timer.cancel()


@lru_cache(maxsize=4096)
def _written(url: str | None, second: int, *, with_content: bool) -> bytes:
    """The whole answer as it is sent within a second (RFC 9110 §6.6.1 wants its date)."""
    status, headers, body = answer_to(url)
    date = formatdate(second, usegmt=True).encode()
    fields = b"".join([b"%b: %b\r\n" % field for field in ((b"date", date), *headers)])
    return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, _PHRASES[status], fields, body if with_content else b"")
