"""One connection of a client: the command loop, STARTTLS and the PROXY protocol, as aiosmtpd has them, made safe.

docs/decisions/0005-what-is-used-of-aiosmtpd.md says what is changed here, and why.
"""

from __future__ import annotations

import asyncio
import collections
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, AnyStr, cast

import structlog
from aiosmtpd.smtp import SMTP, Session, TLSSetupException

from services.ingress_smtp.limits import IDLE_SECONDS, MAX_COMMAND_OCTETS, MAX_ERRORS
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
    """Takes over the client's address from a trusted proxy's line."""

    async def handle_PROXY(self, _server: SMTP, session: Any, _envelope: object, proxy: Any) -> bool:  # noqa: N802
        # A proxy's own health check names no client.
        if proxy.src_addr is not None:
            session.peer = (str(proxy.src_addr), proxy.src_port)
        return True


class _Commands(dict[str, Any]):
    """The library's table of commands, with an answer of ours for all others: its own ends the session for good."""

    def __init__(self, known: dict[str, Any], unknown: Callable[[str | None], Awaitable[None]]) -> None:
        super().__init__(known)
        self._unknown = unknown

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, default or self._unknown)


class SmtpConnection(SMTP):
    """The connection; `on_end` is called with it when it is gone."""

    # The limit of the reader's buffer too: content is read in pieces of this size.
    line_length_limit = 64 * 1024

    def __init__(self, terms: ConnectionTerms, loop: asyncio.AbstractEventLoop, on_end: Callable[[Any], None]) -> None:
        super().__init__(
            _ProxyHook(),
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
        self._is_trusted_proxy = terms.is_trusted_proxy
        self._on_end = on_end
        self._error_count = 0

    @property
    def client_address(self) -> str:
        """The client's network address, without port; a trusted proxy's word counts."""
        return _host(self.session.peer) if self.session is not None else ""

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
        peer = transport.get_extra_info("peername")
        if self._original_transport is None and self._is_trusted_proxy(_host(peer)):
            self._proxy_timeout = _PROXY_LINE_SECONDS
        known_peer = self.session.peer if self.session is not None else None
        super().connection_made(transport)
        if known_peer is not None and self.session is not None:
            # STARTTLS begins a new session with the same client, whom only the proxy's line names.
            self.session.peer = known_peer

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._on_end(self)

    async def _handle_client(self) -> None:
        try:
            await super()._handle_client()
        except ConnectionError:
            pass  # The client left; `connection_lost` has done what is to be done.
        except Exception:
            # A PROXY line that is none, for example: the library lets its parser's errors out.
            log.exception("session ended by an error", client=self.client_address)
            self.abort()

    def _timeout_cb(self) -> None:
        self.say_goodbye(_IDLE)

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


def _host(peer: object) -> str:
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
