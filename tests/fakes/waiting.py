"""Waiting for what must come true, with an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(is_so: Callable[[], bool | Awaitable[bool]], *, within_seconds: float = 30) -> None:
    """Return as soon as `is_so` says yes; `TimeoutError` when it does not in time."""
    async with asyncio.timeout(within_seconds):
        while not (answer if isinstance(answer := is_so(), bool) else await answer):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
