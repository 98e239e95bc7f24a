"""Serving an ASGI application inside a process whose signals and lifetime belong to `lifecycle`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

#: How long a request in progress may hold up a stop.
REQUEST_GRACE_SECONDS = 10


class _QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # Signals are the lifecycle's.


class MakesFront(Protocol):
    """Makes what a connection meets first, and what may leave it to the application."""

    def __call__(
        self,
        client_of: Callable[[str, str], str],
        connections: set[Any],
        application: Callable[[], asyncio.Protocol],
    ) -> asyncio.Protocol:
        """`client_of` says whom a request came from, by the connection's address and `X-Forwarded-For`; the connections
        in `connections` are ended by their `shutdown` when the server stops; `application` serves a connection whose
        `connection_made` and `data_received` are called."""
        ...


class HttpServer:
    """One application on one address."""

    def __init__(
        self, application: Any, host: str, port: int, *, trusted_proxies: str = "", front: MakesFront | None = None
    ) -> None:
        """`trusted_proxies` are addresses and networks, comma-separated, that say for whom they ask."""
        trusted = ProxyHeadersMiddleware(application, trusted_proxies).trusted_hosts

        def client_of(peer: str, forwarded_for: str) -> str:
            return (trusted.get_trusted_client_address(forwarded_for)[0] if peer in trusted else "") or peer

        def behind_front(
            config: uvicorn.Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> asyncio.Protocol:
            def ordinary() -> asyncio.Protocol:
                return H11Protocol(config, server_state, app_state, _loop)

            return front(client_of, server_state.connections, ordinary) if front else ordinary()

        self._server = _QuietServer(
            uvicorn.Config(
                application,
                host=host,
                port=port,
                # h11 bounds what a request's header may come to; httptools reads 50 MB of it in one go.
                http=behind_front,  # type: ignore[arg-type]
                log_config=None,
                access_log=False,
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=trusted_proxies,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=REQUEST_GRACE_SECONDS,
            )
        )

    @property
    def is_listening(self) -> bool:
        return self._server.started and not self._server.should_exit

    async def run(self) -> None:
        """Serve until cancelled; requests in progress are finished first."""
        serving = asyncio.create_task(self._server.serve())
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._server.should_exit = True
            await serving
            raise
        except SystemExit as error:
            # uvicorn's answer to an address that is taken; it has logged the cause.
            raise OSError("the address cannot be listened on") from error
