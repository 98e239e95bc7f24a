"""One run of a task in hand: what the doing of a kind gets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from shared.store import task_runs
from shared.store.engine import Database, RawConnection
from shared.store.task_runs import ClaimedRun


class HandedOver(Exception):
    """The scheduler leaves: another goes on from the cursor."""


class ClaimLost(Exception):
    """The lease was over and another has the run, or the task is gone: nothing more may be done."""


class TaskFailed(Exception):
    """The run came to nothing; the text is one sentence for the operator. It is tried again."""


class TaskRefused(TaskFailed):
    """The same, and trying again would be of no use: it is shown as failed at once."""


class Run:
    """What is done is done in steps: short transactions that hold the claim, each with where to go on from.

    async with run.step() as connection:
        ...                                  # the work
        run.cursor = {"after": last_id}      # committed with it

    A run that begins anew, after a death or a hand-over, finds the cursor of its last committed step; at first it is
    empty. What happens between steps may happen twice.
    """

    def __init__(
        self, claimed: ClaimedRun, database: Database, *, lease_seconds: float, is_leaving: Callable[[], bool]
    ) -> None:
        self.claimed = claimed
        self.cursor: dict[str, Any] = json.loads(claimed.cursor_json)
        self._database = database
        self._lease_seconds = lease_seconds
        self._is_leaving = is_leaving

    @asynccontextmanager
    async def step(self) -> AsyncIterator[RawConnection]:
        """A transaction that commits at the end of the block, with the cursor, and only while the claim is ours.

        Raises `HandedOver` and `ClaimLost`, which the doing lets pass.
        """
        if self._is_leaving():
            raise HandedOver
        async with self._database.raw_transaction() as connection:
            if not await task_runs.hold(connection, self.claimed):
                raise ClaimLost
            yield connection
            await task_runs.advance(
                connection, self.claimed, json.dumps(self.cursor), lease_seconds=self._lease_seconds
            )
