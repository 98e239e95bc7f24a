"""Digest: close what a list has collected; whichever scheduler has room makes the mailings of it."""

from __future__ import annotations

from dataclasses import dataclass

from services.scheduler.run import Run, TaskFailed
from shared.contracts.task_kinds.digest import DigestParameters
from shared.core.address import Address
from shared.store import digests, lists


@dataclass(frozen=True, slots=True)
class Closed:
    """What will be sent; null where nothing was collected."""

    volume: int | None = None
    issue: int | None = None
    posts: int = 0


async def digest(run: Run, parameters: DigestParameters) -> Closed:
    """The issue that was closed, in this or an earlier try. Raises `TaskFailed`."""
    if "closed" in run.cursor:
        return Closed(*run.cursor["closed"])
    name, _, domain = Address.parse(parameters.list).key.rpartition("@")
    async with run.step() as connection:
        list_id = await lists.id_of(connection, name, domain)
        if list_id is None:
            raise TaskFailed(f"There is no list {parameters.list}.")
        found = await digests.close(connection, list_id)
        closed = Closed() if found is None else Closed(found.number.volume, found.number.issue, found.posts)
        run.cursor["closed"] = [closed.volume, closed.issue, closed.posts]
    return closed
