"""`/docs`: the API's description as one page that needs nothing else.

FastAPI's own page loads its scripts from a network of somebody else's: it would not work on a machine without one, and
would run foreign code where an operator pastes a token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
code { font-family: ui-monospace, monospace; font-size: .9em }
pre { background: #f3f3f3; padding: .8rem; overflow: auto }
article { border-top: 1px solid #ccc; padding: .5rem 0 } h3 { margin: .5rem 0 } b { color: #00527a }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .2rem .6rem
.2rem 0; border-bottom: 1px solid #e5e5e5 } caption { text-align: left; font-weight: 600; padding-top: .6rem }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #eee } pre { background: #262626 }
a, b { color: #7cc4ee } }
"""


def page(description: dict[str, Any]) -> str:
    """The HTML of an OpenAPI description."""
    schemas = description["components"]["schemas"]
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Listfleet API</title>',
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>',
            f"<h1>{escape(description['info']['title'])} API</h1><p>{escape(description['info']['description'])} ",
            'For programs: <a href="openapi.json">openapi.json</a>.</p>',
            "<pre>curl -H 'Authorization: Bearer TOKEN' …/api/v1/lists</pre>",
            *_operations(description["paths"]),
            "<h2>Schemas</h2>",
            *(_schema(name, schemas[name]) for name in sorted(schemas)),
            "</main></body></html>",
        ]
    )


def _operations(paths: dict[str, Any]) -> Iterator[str]:
    tag = None
    for path, operations in paths.items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                yield f"<h2>{escape(tag)}</h2>"
            yield f"<article><h3><b>{method.upper()}</b> <code>{escape(path)}</code></h3>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            yield _rows(
                "Parameters",
                [
                    (parameter["name"], _kind(parameter["schema"]), parameter.get("description", ""))
                    for parameter in operation.get("parameters", [])
                ],
            )
            yield from _bodies(operation)
            yield "</article>"


def _bodies(operation: dict[str, Any]) -> Iterator[str]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: {_kind(content['schema'])}, <code>{escape(media_type)}</code></p>"
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            kinds = [_kind(content["schema"]) for content in answer.get("content", {}).values() if "schema" in content]
            yield f"<p>Answer {status}: {', '.join(kinds) or escape(answer['description'])}</p>"


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (field if field in required else f"{field} (optional)", _kind(kind), kind.get("description", ""))
        for field, kind in schema.get("properties", {}).items()
    ]
    values = f"<p>{_kind(schema)}</p>" if "enum" in schema else ""
    description = f"<p>{escape(schema.get('description', ''))}</p>{values}"
    return f'<article id="{escape(name)}"><h3>{escape(name)}</h3>{description}{_rows("Fields", rows)}</article>'


def _rows(caption: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = [
        f"<tr><td><code>{escape(name)}</code></td><td>{kind}</td><td>{escape(sentence)}</td></tr>"
        for name, kind, sentence in rows
    ]
    head = '<tr><th scope="col">Name</th><th scope="col">Kind</th><th scope="col">Meaning</th></tr>'
    return f"<table><caption>{caption}</caption>{head}{''.join(lines)}</table>"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words, as HTML, with links to those that have a name."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    kind = schema.get("format") or schema.get("type", "any")
    return escape(kind if isinstance(kind, str) else " or ".join(kind))
