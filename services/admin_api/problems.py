"""Errors as problem documents (RFC 9457), every one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from shared.contracts.bodies import Answer
from shared.store.engine import StoreUnavailable

_log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
#: After how many seconds a client may try again when PostgreSQL is down.
RETRY_AFTER_SECONDS = 5
DATABASE_DOWN = "The database cannot be reached now. Nothing was lost; please try again."


class FieldProblem(Answer):
    """What is wrong with one part of a request."""

    pointer: str | None = None
    """Where in the body: a JSON Pointer (RFC 6901) as a URI fragment, such as `#/fields/city`."""
    parameter: str | None = None
    """Or the parameter of the path or the query."""
    detail: str
    """One sentence."""


class ProblemDocument(Answer):
    """What went wrong (RFC 9457). Some problems have more members."""

    type: str = "about:blank"
    """The problem's kind: `about:blank`, which is none beyond the status."""
    title: str
    """The status in words."""
    status: int
    """The HTTP status code."""
    detail: str
    """What is wrong here."""
    errors: list[FieldProblem] = Field(default_factory=list)
    """With 422: each thing that is wrong."""


class Problem(HTTPException):
    """A request that cannot be answered as it was meant, with what the problem document says."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(status, detail, headers)
        self.more = more


def response(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, more: Mapping[str, Any] | None = None
) -> JSONResponse:
    """The problem document as an answer."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse({**body, **(more or {})}, status, headers, MEDIA_TYPE)


def wrong_part(where: Sequence[str | int], detail: str) -> dict[str, Any]:
    """A `FieldProblem` for a place as pydantic and FastAPI name it: ("body", "fields", "city")."""
    kind, *path = where
    if kind != "body":
        return {"parameter": str(path[0]) if path else str(kind), "detail": detail}
    # An error in a key is shown at the member that has the key; a syntax error's place is an offset.
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path if step != "[key]"]
    return {"pointer": "".join(["#", *(f"/{step}" for step in steps)]), "detail": detail}


def _validation(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    errors = []
    for found in error.errors():
        if found["type"] == "json_invalid":
            sentence = f"The body is not JSON: {found['ctx']['error']} at character {found['loc'][-1]}."
            errors.append(wrong_part(["body"], sentence))
        elif found["type"] == "model_attributes_type":
            errors.append(wrong_part(["body"], "The body is a JSON object, with Content-Type: application/json."))
        else:
            sentence = "There is no such field." if found["type"] == "extra_forbidden" else found["msg"]
            errors.append(wrong_part(found["loc"], sentence))
    return response(422, "The request is not well formed: see errors.", more={"errors": errors})


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    details = {404: "There is nothing at this path.", 405: "This path does not take this method."}
    return response(error.status_code, details.get(error.status_code, error.detail), headers=error.headers)


def _problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - registered for nothing else
    return response(error.status_code, error.detail, headers=error.headers, more=error.more)


def _store_unavailable(request: Request, error: Exception) -> JSONResponse:
    _log.warning("request not answered", method=request.method, path=request.url.path, error=str(error))
    return response(503, DATABASE_DOWN, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _fault(_request: Request, _error: Exception) -> JSONResponse:
    # What happened is in the log: the server below writes the traceback.
    return response(500, "This is our fault; the log of the service says more.")


def install(app: FastAPI) -> None:
    """Let `app` answer every error with a problem document."""
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(StoreUnavailable, _store_unavailable)
    app.add_exception_handler(Exception, _fault)
