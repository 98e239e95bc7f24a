"""The listening socket and its sessions."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from services.ingress_smtp.connection import host_of
from services.ingress_smtp.crowd import Place
from services.ingress_smtp.session import SessionTerms, SmtpSession
from shared.core.smtp_reply import Reply

_CROWDED_OUT = Reply(421, "4.3.2 Too many sessions, please try again later")

#: At most so many connections wait to be accepted.
_BACKLOG = 4096


class _Door(asyncio.Protocol):
    """A connection before it is known whether it becomes a session: refusing costs next to nothing."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        answer = self._server.session_for(host_of(transport.get_extra_info("peername")))
        if isinstance(answer, Reply):
            transport.write(f"{answer}\r\n".encode())
            transport.close()
        else:
            transport.set_protocol(answer)
            answer.connection_made(transport)


class SmtpServer:
    """Takes SMTP connections from `start` to `stop`."""

    def __init__(self, terms: SessionTerms, host: str, port: int) -> None:
        self._terms = terms
        self._host = host
        self._port = port
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
        self._server = await loop.create_server(lambda: _Door(self), self._host, self._port, backlog=_BACKLOG)
        self._port = self._server.sockets[0].getsockname()[1]

    @property
    def is_listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    async def stop(self) -> None:
        """Take no connection any more and end the sessions between two messages; return when the last has ended."""
        if self._server is not None:
            self._server.close()
        self.send_away()
        while self._sessions:
            self._all_gone.clear()
            await self._all_gone.wait()

    def send_away(self) -> None:
        """End the sessions between two messages."""
        for session in list(self._sessions):
            session.stop()

    def send_idle_away(self) -> None:
        """End the sessions of which nothing was heard for a while."""
        for session in list(self._sessions):
            session.stop_if_idle()

    def abort(self) -> None:
        """End what is left at once."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.abort()

    def session_for(self, address: str) -> SmtpSession | Reply:
        """A session for a client at this network address, or for whom a proxy there names; or what it is told."""
        place: Place | None = None
        if self._terms.connection.is_trusted_proxy(address):
            if len(self._sessions) >= self._terms.admission.most_sessions:
                return _CROWDED_OUT
        else:
            answer = self._terms.admission.admit(address)
            if isinstance(answer, Reply):
                return answer
            place = answer
        session = SmtpSession(self._terms, asyncio.get_running_loop(), self._end_session, place)
        self._sessions.add(session)
        return session

    def _end_session(self, session: SmtpSession) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._all_gone.set()
