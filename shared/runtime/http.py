"""Serving an ASGI application inside a process whose signals and lifetime belong to `lifecycle`."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

#: How long a request in progress may hold up a stop.
REQUEST_GRACE_SECONDS = 10


class _QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # Signals are the lifecycle's.


class HttpServer:
    """One application on one address."""

    def __init__(self, application: Any, host: str, port: int, *, trusted_proxies: str = "") -> None:
        """`trusted_proxies` are addresses and networks, comma-separated, that say for whom they ask."""
        self._server = _QuietServer(
            uvicorn.Config(
                application,
                host=host,
                port=port,
                # h11 bounds what a request's header may come to; httptools reads 50 MB of it in one go.
                http="h11",
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
