"""Claiming: a released batch becomes this node's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

from services.outbound_sender.held_batch import HeldBatch
from services.outbound_sender.moments import Moments
from shared.core.delivery import Outcome, OutcomeKind
from shared.runtime.clock import seconds_since_boot
from shared.store import claims
from shared.store.claims import ClaimedBatch
from shared.store.engine import Database
from shared.store.nodes import Lease
from shared.store.patience import until_available

#: Stands in a batch that was claimed, until its content is there.
NOT_LOADED = Outcome(OutcomeKind.DEFERRED, "the message was not loaded")


async def claim_batch(
    database: Database, batch_id: int, lease: Lease, *, at_most: int, on_all_started: Callable[[], None]
) -> HeldBatch | None:
    """The batch with at most so many recipients, and no content yet; `None` when it is not to be had, or is empty.

    Returns when the database has answered, however long it is down.
    """
    token = uuid4()
    asked_at_seconds, claimed_at_seconds = 0.0, 0.0

    async def claim() -> ClaimedBatch | None:
        nonlocal asked_at_seconds, claimed_at_seconds
        async with database.raw() as connection:
            asked_at_seconds, claimed_at_seconds = seconds_since_boot(), asyncio.get_running_loop().time()
            return await claims.claim(
                connection, batch_id, lease=lease.incarnation, node_name=lease.name, token=token, at_most=at_most
            )

    claimed = await until_available(claim, doing="claim")
    if claimed is None or not claimed.recipients:
        return None
    answered_at_seconds = seconds_since_boot()
    ids = {recipient.delivery_id for recipient in claimed.recipients}
    moments = None
    if claimed.limit:
        moments = Moments(
            claimed.limit, len(ids), asked_at_seconds=asked_at_seconds, answered_at_seconds=answered_at_seconds
        )
    return HeldBatch(
        claimed,
        NOT_LOADED,
        claimed_at_seconds,
        on_all_started=on_all_started,
        unstarted=set(ids),
        open=set(ids),
        reported_unstarted=len(ids),
        moments=moments,
    )
