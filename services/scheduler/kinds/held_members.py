"""Held members: let those go who did not answer, and remind the others, some members a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.scheduler.run import Run
from shared.contracts.task_kinds.held_members import HeldMembersParameters
from shared.runtime.consequences import Consequences
from shared.runtime.subscriptions import Subscriptions
from shared.store import held_members

#: Does what follows from a commit; never raises.
Follow = Callable[[Consequences], Awaitable[None]]

CHUNK = 50


@dataclass(slots=True)
class Reminded:
    """What was done."""

    reminded: int = 0
    #: Members who did not answer, and are members no more.
    removed: int = 0


@dataclass(frozen=True, slots=True)
class HeldMembers:
    """The doing of the kind."""

    subscriptions: Subscriptions
    follow: Follow

    async def __call__(self, run: Run, parameters: HeldMembersParameters) -> Reminded:
        """What was done, in this and earlier tries."""
        done = Reminded(**run.cursor.get("done", {}))
        while await self._let_go(run, done, parameters) == CHUNK:
            pass
        while await self._remind(run, done, parameters) == CHUNK:
            pass
        return done

    async def _let_go(self, run: Run, done: Reminded, parameters: HeldMembersParameters) -> int:
        followed = Consequences()
        async with run.step() as connection:
            found = await held_members.to_let_go(
                connection,
                after_days=parameters.remind_after_days,
                max_reminders=parameters.max_reminders,
                limit=CHUNK,
            )
            for member_id in found:
                followed += await self.subscriptions.leave(connection, member_id)
            done.removed += len(found)
            _remember(run, done)
        await self.follow(followed)
        return len(found)

    async def _remind(self, run: Run, done: Reminded, parameters: HeldMembersParameters) -> int:
        told = Consequences()
        async with run.step() as connection:
            found = await held_members.to_remind(
                connection,
                after_days=parameters.remind_after_days,
                max_reminders=parameters.max_reminders,
                limit=CHUNK,
            )
            for member in found:
                told += await self.subscriptions.invite_back(connection, member.list_id, member.address, member.because)
            done.reminded += len(found)
            _remember(run, done)
        await self.follow(told)
        return len(found)


def _remember(run: Run, done: Reminded) -> None:
    run.cursor["done"] = {"reminded": done.reminded, "removed": done.removed}
