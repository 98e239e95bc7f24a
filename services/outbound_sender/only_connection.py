"""A node's only connection: while a limited batch waits for its moments, and in turn with it, others' mail has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.held_batch import Job
from services.outbound_sender.kept_connection import Kept
from services.outbound_sender.moments import LOOK_SECONDS

#: So many of a limited batch go in a row while others' mail waits.
MAX_IN_A_ROW = 10


async def serve_others(
    backlog: Backlog,
    job: Job,
    number: int,
    kept: Kept,
    serve: Callable[[Job], Awaitable[None]],
    *,
    may_start: Callable[[], bool],
    transaction_seconds: Callable[[], float],
) -> None:
    """Serve what is under no limit until it is the turn of `job`, number `number` of its limited batch from 0.

    `kept` is the connection that the others are served on.
    Its turn is when its moment is less than a transaction away. After so many in a row others' mail gets as many turns,
    or one where there are moments to keep.
    """
    moments = job.held.moments
    assert moments is not None  # noqa: S101 - it is of a limited batch
    turns = 0
    if number % MAX_IN_A_ROW == 0:
        turns = 1 if job.held.batch.is_paced else MAX_IN_A_ROW
    while may_start():
        wait_seconds = moments.wait_seconds - transaction_seconds()
        if wait_seconds <= 0 and not (turns > 0 and backlog.has_unlimited()):
            return
        try:
            async with asyncio.timeout(min(max(wait_seconds, 0.0), LOOK_SECONDS)):
                other = await backlog.next(kept.destination, kept.hosts, only_unlimited=True)
        except TimeoutError:
            continue
        turns -= 1
        await serve(other)
