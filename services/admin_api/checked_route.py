"""A route that looks at a request before anything of its body is read: token, query, path, size."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.types import Message

from services.admin_api.auth import authenticate
from services.admin_api.problems import Problem
from shared.contracts.bodies import has_controls
from shared.store.engine import Database

MAX_BODY_BYTES = 1024 * 1024
#: Of a text with a million characters, escaped in whatever way, and another one.
MAX_WRITING_BYTES = 12 * 1024 * 1024

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def database_of(request: Request) -> Database:
    """The pool that the application was made with."""
    return cast(Database, request.app.state.database)


class CheckedRoute(APIRoute):
    """401 without a known token, 422 for a query nobody asked for, 413 for a body above the bound."""

    #: `None` for a route that reads its body piece by piece.
    max_body_bytes: int | None = MAX_BODY_BYTES

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        known = {field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, params.Query)}

        async def checked(request: Request) -> Response:
            await authenticate(request, database_of(request))
            _check_parameters(request, known)
            if self.max_body_bytes is not None:
                request = _bounded(request, self.max_body_bytes)
                _check_body_is_expected(request, is_expected=self.body_field is not None)
            return await handle(request)

        return checked


class WritingRoute(CheckedRoute):
    """A route that takes what an author writes."""

    max_body_bytes = MAX_WRITING_BYTES


class StreamingRoute(CheckedRoute):
    """A route whose handler reads the body as it comes, and bounds each line of it."""

    max_body_bytes = None


def _check_parameters(request: Request, known: set[str]) -> None:
    errors = [
        {"parameter": name, "detail": "There is no such parameter."}
        for name in request.query_params
        if name not in known
    ]
    values = [*request.query_params.multi_items(), *request.path_params.items()]
    errors += [
        {"parameter": name, "detail": "The value holds a control character."}
        for name, value in values
        if has_controls(str(value))
    ]
    if errors:
        raise Problem(422, "The request is not well formed: see errors.", errors=errors)


def _check_body_is_expected(request: Request, *, is_expected: bool) -> None:
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body and not is_expected:
        raise Problem(422, "This request takes no body.", errors=[{"pointer": "#", "detail": "There is to be none."}])


def _bounded(request: Request, max_bytes: int) -> Request:
    """The request, with a body that breaks off, 413, where it gets too long."""
    too_large = Problem(413, f"The body is larger than {max_bytes:,} bytes.", headers={"Connection": "close"})
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > max_bytes:
        raise too_large
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "A compressed body is not taken.")
    size_bytes = 0

    async def receive() -> Message:
        nonlocal size_bytes
        message = await request.receive()
        size_bytes += len(message.get("body", b""))
        if size_bytes > max_bytes:
            raise too_large
        return message

    return Request(request.scope, receive)
