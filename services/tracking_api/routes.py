"""What readers' requests find."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.tracking_api import pages


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n", headers=pages.HEADERS)


class _Unknown:
    """The same answer for every method and path, so that it tells nothing about a token."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await HTMLResponse(pages.UNKNOWN, 404, pages.HEADERS)(scope, receive, send)


def application() -> Starlette:
    """`/healthz` for the load balancer in front; a page that says so for any token that is not known."""
    return Starlette(routes=[Route("/healthz", _healthz), Route("/{path:path}", _Unknown())])
