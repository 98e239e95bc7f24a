"""The API's description, with what FastAPI cannot know: the token, and that every error is a problem document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from services.admin_api.problems import MEDIA_TYPE, ProblemDocument
from shared.contracts.task_kinds import PARAMETERS

_REFERENCE = "#/components/schemas/{model}"
#: What any request can meet; what else one can is in its description.
_PROBLEMS = {
    "401": "No token, or one that is not known.",
    "422": "Something in the request is wrong, unknown, or out of range.",
    "503": "The database cannot be reached now.",
    "default": "Any other error.",
}


def install(app: FastAPI) -> None:
    """Let `app.openapi()` answer with the completed description."""
    generate = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generate())
        return generate()

    app.openapi = complete  # type: ignore[method-assign]


def _complete(description: dict[str, Any]) -> None:
    components = description["components"]
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    description["security"] = [{"token": []}]
    schemas = components["schemas"]
    # FastAPI's own error documents, and the class behind a text: nothing refers to them.
    for name in ("HTTPValidationError", "ValidationError", "Address"):
        schemas.pop(name, None)
    # What a task takes depends on its kind.
    for parameters in PARAMETERS.values():
        schemas[parameters.__name__] = parameters.model_json_schema(ref_template=_REFERENCE)
    problem = ProblemDocument.model_json_schema(ref_template=_REFERENCE)
    schemas.update(problem.pop("$defs"))
    schemas["ProblemDocument"] = problem
    content = {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="ProblemDocument")}}}
    for operations in description["paths"].values():
        for operation in operations.values():
            for status, sentence in _PROBLEMS.items():
                operation["responses"][status] = {"description": sentence, "content": content}
