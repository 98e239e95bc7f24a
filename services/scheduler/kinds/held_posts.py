"""Held posts: remind the moderators, and end what waited too long, some posts a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.scheduler.run import Run
from shared.contracts.task_kinds.held_posts import HeldPostsParameters
from shared.core.held_post import HeldDecision
from shared.runtime import moderation
from shared.runtime.consequences import Consequences
from shared.runtime.moderation import Telling
from shared.store import held_posts

#: Does what follows from a commit; never raises.
Follow = Callable[[Consequences], Awaitable[None]]

CHUNK = 50
_DECIDED_BY = "age"


@dataclass(slots=True)
class LookedAfter:
    """What was done."""

    expired: int = 0
    #: Posts whose moderators were told again.
    reminded: int = 0


@dataclass(frozen=True, slots=True)
class HeldPosts:
    """The doing of the kind."""

    telling: Telling
    follow: Follow

    async def __call__(self, run: Run, parameters: HeldPostsParameters) -> LookedAfter:
        """What was done, in this and earlier tries."""
        done = LookedAfter(**run.cursor.get("done", {}))
        if parameters.expire_after_hours is not None:
            await self._expire(run, done, parameters.expire_after_hours)
        if parameters.remind_after_hours is not None:
            await self._remind(run, done, parameters.remind_after_hours)
        return done

    async def _expire(self, run: Run, done: LookedAfter, after_hours: int) -> None:
        count = CHUNK
        while count == CHUNK:
            async with run.step() as connection:
                found = await held_posts.too_old(connection, after_hours=after_hours, limit=CHUNK)
                for held_id in found:
                    await moderation.decide(connection, held_id, HeldDecision.EXPIRED, decided_by=_DECIDED_BY)
                count = len(found)
                done.expired += count
                _remember(run, done)

    async def _remind(self, run: Run, done: LookedAfter, after_hours: int) -> None:
        count = CHUNK
        while count == CHUNK:
            told = Consequences()
            async with run.step() as connection:
                found = await held_posts.to_remind(connection, after_hours=after_hours, limit=CHUNK)
                for held in found:
                    told += await self.telling.remind_of(connection, held)
                count = len(found)
                done.reminded += count
                _remember(run, done)
            await self.follow(told)


def _remember(run: Run, done: LookedAfter) -> None:
    run.cursor["done"] = {"expired": done.expired, "reminded": done.reminded}
