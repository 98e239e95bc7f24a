"""The schedulers' queues: each payload is handled once its turn comes, and again when the database was down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

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


def dispatched(tasks: Mapping[type[Payload], Callable[[Any], Awaitable[None]]]) -> Callable[[Payload], Awaitable[None]]:
    """One task for a queue that carries several kinds of payloads."""

    async def dispatch(payload: Payload) -> None:
        await tasks[type(payload)](payload)

    return dispatch
