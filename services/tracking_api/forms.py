"""What a form sends, read with bounds."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

MAX_BODY_BYTES = 8 * 1024
_MAX_FIELDS = 20


class TooLarge(Exception):
    """The body is larger than any form of ours."""


async def body_of(request: Request) -> bytes:
    """The whole body. Raises `TooLarge` where it gets longer than `MAX_BODY_BYTES`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
    return body


def fields(body: bytes) -> Mapping[str, str]:
    """The fields of an urlencoded form, the last of each name; none of a body that is no such form."""
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        return {}
