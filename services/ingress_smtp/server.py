"""The listening socket and its sessions."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from services.ingress_smtp.limits import MAX_SESSIONS
from services.ingress_smtp.session import SessionTerms, SmtpSession

_BUSY = b"421 4.3.2 Too many sessions, please try again later\r\n"

#: At most so many connections wait to be accepted.
_BACKLOG = 512


class _BusyAnswer(asyncio.Protocol):
    """Tells a client to come back later."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        transport.write(_BUSY)
        transport.close()


class SmtpServer:
    """Takes SMTP connections from `start` to `stop`."""

    def __init__(self, terms: SessionTerms, host: str, port: int, *, max_sessions: int = MAX_SESSIONS) -> None:
        self._terms = terms
        self._host = host
        self._port = port
        self._max_sessions = max_sessions
        self._sessions: set[SmtpSession] = set()
        self._server: asyncio.Server | None = None
        self._all_gone = asyncio.Event()
        # The library writes every line of every session; what matters is logged by our own code.
        for name in ("mail.log", "mail.debug"):
            logging.getLogger(name).setLevel(logging.ERROR)

    @property
    def port(self) -> int:
        """The port in use, also when 0 was asked for."""
        return self._port

    @property
    def session_count(self) -> int:
        return len(self._sessions)

    async def start(self) -> None:
        """Listen. Raises `OSError` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._new_session, self._host, self._port, backlog=_BACKLOG)
        self._port = self._server.sockets[0].getsockname()[1]

    @property
    def is_listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    async def stop(self) -> None:
        """Take no connection any more and end the sessions between two messages; return when the last has ended."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.stop()
        while self._sessions:
            self._all_gone.clear()
            await self._all_gone.wait()

    def abort(self) -> None:
        """End what is left at once."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.abort()

    def _new_session(self) -> asyncio.Protocol:
        if len(self._sessions) >= self._max_sessions:
            return _BusyAnswer()
        session = SmtpSession(self._terms, asyncio.get_running_loop(), self._end_session)
        self._sessions.add(session)
        return session

    def _end_session(self, session: SmtpSession) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._all_gone.set()
