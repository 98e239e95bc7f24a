"""Telling all processes of a change, once its row is committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Request

from shared.contracts.base import Payload

#: Broadcasts on `control`; when nobody hears it, the nodes read the rows with their next sign of life.
Announce = Callable[[Payload], Awaitable[None]]


def announce_of(request: Request) -> Announce:
    return cast(Announce, request.app.state.announce)


Announcing = Annotated[Announce, Depends(announce_of)]
