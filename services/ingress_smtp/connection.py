"""One connection of a client: the command loop, STARTTLS and the PROXY protocol, as aiosmtpd has them, made safe.

docs/decisions/0005-what-is-used-of-aiosmtpd.md says what is changed here, and why.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, AnyStr, cast

import structlog
from aiosmtpd.proxy_protocol import AF, PROTO, V2_CMD, ProxyData
from aiosmtpd.smtp import SMTP, Session, TLSSetupException

from services.ingress_smtp.limits import CROWDED_IDLE_SECONDS, IDLE_SECONDS, MAX_COMMAND_OCTETS, MAX_ERRORS
from shared.core.smtp_reply import Reply

STOPPING = Reply(421, "4.3.2 The server is stopping, please try again later")
_TOO_MANY_ERRORS = Reply(421, "4.7.0 Too many errors in this session")
_IDLE = Reply(421, "4.4.2 The session was idle for too long")
_FAULT = Reply(451, "4.3.0 The server made a mistake, please try again later")

#: How long a trusted proxy may take to say whom it speaks for.
_PROXY_LINE_SECONDS = 10.0
#: How long a client may take to read the last reply.
_GOODBYE_SECONDS = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionTerms:
    """What all connections of a node share."""

    #: The name in the greeting.
    hostname: str
    tls: ssl.SSLContext | None = None
    is_trusted_proxy: Callable[[str], bool] = lambda _address: False
    idle_seconds: float = IDLE_SECONDS


class _ProxyHook:
    """Takes over the client's address from a trusted proxy's header, and lets the client in."""

    def __init__(self, admit: Callable[[str | None], Reply | None]) -> None:
        self._admit = admit

    async def handle_PROXY(self, server: SMTP, session: Any, _envelope: object, proxy: ProxyData) -> bool:  # noqa: N802
        client = client_of(proxy)
        if client is not None:
            session.peer = client
        refusal = self._admit(None if client is None else client[0])
        if refusal is not None:
            await server.push(str(refusal))
        return refusal is None


def client_of(proxy: ProxyData) -> tuple[str, int] | None:
    """The client's address and port by a header that was understood.

    `None` where the connection's own address counts: a proxy's own health check (version 2, LOCAL, whatever addresses
    follow), UNKNOWN (version 1), and whatever is not TCP over IPv4 or IPv6.
    """
    is_tcp = proxy.protocol == PROTO.STREAM and proxy.family in (AF.INET, AF.INET6)
    if not is_tcp or proxy.command == V2_CMD.LOCAL or proxy.src_port is None:
        return None
    return str(proxy.src_addr), proxy.src_port


@functools.cache
def _command_names(session_type: type) -> list[str]:
    return [name for name in dir(session_type) if name.startswith("smtp_")]


class _Commands(dict[str, Any]):
    """The library's table of commands, with an answer of ours for all others: its own ends the session for good."""

    def __init__(self, known: dict[str, Any], unknown: Callable[[str | None], Awaitable[None]]) -> None:
        super().__init__(known)
        self._unknown = unknown

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, default or self._unknown)


class SmtpConnection(SMTP):
    """The connection; `on_end` is called with it when it is gone.

    With `admit` it begins with a proxy's header, and `admit` answers what the client is told that is not let in; it is
    given the client's address, or `None` when the proxy speaks for itself.
    """

    # The limit of the reader's buffer too: content is read in pieces of this size.
    line_length_limit = 64 * 1024

    def __init__(
        self,
        terms: ConnectionTerms,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[Any], None],
        admit: Callable[[str | None], Reply | None] | None,
    ) -> None:
        super().__init__(
            None if admit is None else _ProxyHook(admit),
            proxy_protocol_timeout=None if admit is None else _PROXY_LINE_SECONDS,
            enable_SMTPUTF8=True,
            hostname=terms.hostname,
            ident="ESMTP Listfleet",
            tls_context=terms.tls,
            timeout=terms.idle_seconds,
            loop=loop,
        )
        # The library keeps one table for all sessions, and lets it grow with every EHLO.
        self.command_size_limits = collections.defaultdict(lambda: MAX_COMMAND_OCTETS)
        self.command_size_limit = MAX_COMMAND_OCTETS
        # Nobody logs in here.
        del self._smtp_methods["AUTH"]
        self._smtp_methods = _Commands(self._smtp_methods, self._refuse_unknown)
        self._on_end = on_end
        self._error_count = 0
        self._heard_at_seconds = loop.time()

    def __dir__(self) -> list[str]:
        """Where the library looks for its commands, for each session anew: all names would take four fifths of the time
        that a session takes to begin."""
        return _command_names(type(self))  # type: ignore[arg-type]  # mypy looks at an instance's __hash__

    @property
    def client_address(self) -> str:
        """The client's network address, without port; a trusted proxy's word counts."""
        return host_of(self.session.peer) if self.session is not None else ""

    @property
    def is_idle_in_a_crowd(self) -> bool:
        """Whether nothing was heard of the client for so long that others are to have its place."""
        return self.loop.time() - self._heard_at_seconds > CROWDED_IDLE_SECONDS

    def end_idle(self) -> None:
        """End the connection, since nothing was heard for too long."""
        self.say_goodbye(_IDLE)

    def abort(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            cast(asyncio.Transport, self.transport).abort()

    def say_goodbye(self, reply: Reply) -> None:
        """End the connection with `reply`, whatever the client does, and whatever is being done for it."""
        transport = cast("asyncio.Transport | None", self.transport)
        if transport is not None and not transport.is_closing():
            transport.write(f"{reply}\r\n".encode())
            transport.close()
            # A client that reads nothing would keep the rest of a closed connection for ever.
            self.loop.call_later(_GOODBYE_SECONDS, transport.abort)
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        known_peer = self.session.peer if self.session is not None else None
        super().connection_made(transport)
        if known_peer is not None and self.session is not None:
            # STARTTLS begins a new session with the same client, whom only the proxy's line names.
            self.session.peer = known_peer

    def eof_received(self) -> bool:
        """The client says nothing more, so nothing more is done for it: what was answered is sent, then it ends."""
        super().eof_received()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._on_end(self)

    async def _handle_client(self) -> None:
        try:
            await super()._handle_client()
        except (ConnectionError, asyncio.IncompleteReadError):
            # The client left; `connection_lost` does what is to be done.
            self.abort()
        except Exception:
            log.exception("session ended by an error", client=self.client_address)
            self.abort()

    def _reset_timeout(self, duration: float | None = None) -> None:
        super()._reset_timeout(duration)
        self._heard_at_seconds = self.loop.time()

    def _timeout_cb(self) -> None:
        self.end_idle()

    async def push(self, status: AnyStr) -> None:
        """Send one reply; the reply after too many refusals is the last."""
        await super().push(status)
        self._error_count += status[:1] in ("5", b"5")
        if self._error_count >= MAX_ERRORS:
            self.say_goodbye(_TOO_MANY_ERRORS)

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, TLSSetupException):
            log.info("TLS handshake failed", client=self.client_address, because=str(error.__cause__))
        else:
            log.error("command failed", client=self.client_address, exc_info=error)
        return str(_FAULT)

    async def _refuse_unknown(self, arg: str | None) -> None:  # noqa: ARG002
        await self.push("500 5.5.1 Unknown command")

    def current_session(self) -> Session:
        """What the library knows of the client now; STARTTLS makes it anew."""
        assert self.session is not None, "aiosmtpd makes it with the connection"  # noqa: S101
        return self.session


def host_of(peer: object) -> str:
    """The network address in a socket's peer; empty when it has none, as when the client is gone already."""
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
