"""Going on where one was when the database comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from shared.store.engine import StoreUnavailable

_log = structlog.get_logger(__name__)
T = TypeVar("T")

PAUSE_SECONDS = 0.5


async def until_available(call: Callable[[], Awaitable[T]], *, doing: str) -> T:
    """What `call` returns; while the database is down it is called again and again, so it must be repeatable."""
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            _log.warning("database is down", doing=doing, error=str(error))
            await asyncio.sleep(PAUSE_SECONDS)
