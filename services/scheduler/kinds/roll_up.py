"""Roll-up: count what became of mailings' deliveries, one mailing a step."""

from __future__ import annotations

from dataclasses import dataclass

from services.scheduler.run import Run
from shared.contracts.task_kinds.roll_up import RollUpParameters
from shared.store import roll_ups


@dataclass(slots=True)
class RolledUp:
    """What was done."""

    #: Mailings that were counted.
    mailings: int = 0


async def roll_up(run: Run, parameters: RollUpParameters) -> RolledUp:
    """How many were counted, in this and earlier tries."""
    done = RolledUp(run.cursor.get("mailings", 0))
    while True:
        async with run.step() as connection:
            found = await roll_ups.following(connection, after_id=run.cursor.get("after", 0), days=parameters.days)
        if not found:
            return done
        for mailing_id in found:
            async with run.step() as connection:
                done.mailings += await roll_ups.count(connection, mailing_id)
                run.cursor = {"after": mailing_id, "mailings": done.mailings}
