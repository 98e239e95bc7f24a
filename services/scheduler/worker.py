"""The schedulers' queues: each payload is handled once its turn comes, and again when the database was down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from shared.broker.consumer import Handler, Received
from shared.contracts.base import Payload
from shared.store.patience import until_available

T = TypeVar("T")


def handled_by(task: Callable[[T], Awaitable[None]]) -> Handler[T]:
    """A handler that acknowledges when `task` is through; tasks are transactions, so a repetition is harmless."""

    async def handle(received: Received[T]) -> None:
        await until_available(lambda: task(received.payload), doing=type(task).__name__)
        await received.acknowledge()

    return handle


class OneAtATime(Generic[T]):
    """Handles what comes again alone among its kind, so that who dies of a payload has not begun another such one."""

    def __init__(self, handle: Handler[T], is_set_aside: Callable[[Received[T]], Awaitable[bool]]) -> None:
        """`is_set_aside` is asked each time before; what it says yes to is not handled."""
        self._handle = handle
        self._is_set_aside = is_set_aside
        self._one = asyncio.Lock()

    async def __call__(self, received: Received[T]) -> None:
        if not received.is_redelivered:
            await self._handle(received)
            return
        async with self._one:
            if await until_available(lambda: self._is_set_aside(received), doing="counting tries"):
                await received.acknowledge()
            else:
                await self._handle(received)


def dispatched(tasks: Mapping[type[Payload], Callable[[Any], Awaitable[None]]]) -> Callable[[Payload], Awaitable[None]]:
    """One task for a queue that carries several kinds of payloads."""

    async def dispatch(payload: Payload) -> None:
        await tasks[type(payload)](payload)

    return dispatch
