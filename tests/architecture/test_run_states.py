"""Every state × event pair has an answer: of the runs of tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from shared.core.task import RunState
from shared.store import task_runs
from shared.store.engine import RawConnection
from shared.store.task_runs import ClaimedRun
from tests.integration import stored
from tests.integration.test_tasks import be_over, new_run


class Scene:
    """One run that a scheduler had in hand, and what that one, or another, does with it then."""

    def __init__(self, connection: RawConnection) -> None:
        self.connection = connection
        self.run: ClaimedRun

    async def be(self, state: RunState) -> None:
        """It was claimed, and then came to this state without its holder's doing."""
        run_id = await new_run(self.connection)
        claimed = await self._claim(run_id)
        assert claimed is not None
        self.run = claimed
        if state is RunState.WAITING:
            await task_runs.hand_over(self.connection, claimed)
        elif state is not RunState.RUNNING:
            await self.connection.execute(
                "UPDATE task_runs SET state = $1, ended_at = now(), publish_due_at = NULL", state.value
            )

    async def _claim(self, run_id: int) -> ClaimedRun | None:
        return await task_runs.claim(self.connection, run_id, token=uuid4(), node_name="scheduler-2", lease_seconds=30)

    async def claim_by_another(self) -> None:
        await self._claim(self.run.id)

    async def claim_repeated(self) -> None:
        await task_runs.claim(
            self.connection, self.run.id, token=self.run.claim, node_name="scheduler-1", lease_seconds=30
        )

    async def claim_after_the_lease(self) -> None:
        await be_over(self.connection, self.run.id)
        await self._claim(self.run.id)

    async def step(self) -> None:
        async with self.connection.transaction():
            if await task_runs.hold(self.connection, self.run):
                await task_runs.advance(self.connection, self.run, "{}", lease_seconds=30)

    async def renewal(self) -> None:
        await task_runs.renew(self.connection, [self.run], lease_seconds=30)

    async def success(self) -> None:
        await task_runs.succeed(self.connection, self.run, "{}")

    async def failure(self) -> None:
        await task_runs.fail(self.connection, self.run, "because", again_after_seconds=30)

    async def last_failure(self) -> None:
        await task_runs.fail(self.connection, self.run, "because", again_after_seconds=None)

    async def giving_up(self) -> None:
        await task_runs.give_up(self.connection, self.run)

    async def hand_over(self) -> None:
        await task_runs.hand_over(self.connection, self.run)

    async def published(self) -> None:
        await task_runs.mark_published(self.connection, [self.run.id], again_after_seconds=30)


#: What each event makes of a run in each state that is not final.
RUNS: dict[RunState, dict[str, RunState]] = {
    RunState.WAITING: {
        "claim_by_another": RunState.RUNNING,
        "claim_repeated": RunState.RUNNING,
        "claim_after_the_lease": RunState.RUNNING,
        # Of who handed it over: nothing more.
        "step": RunState.WAITING,
        "renewal": RunState.WAITING,
        "success": RunState.WAITING,
        "failure": RunState.WAITING,
        "last_failure": RunState.WAITING,
        "giving_up": RunState.WAITING,
        "hand_over": RunState.WAITING,
        "published": RunState.WAITING,
    },
    RunState.RUNNING: {
        "claim_by_another": RunState.RUNNING,
        "claim_repeated": RunState.RUNNING,
        "claim_after_the_lease": RunState.RUNNING,
        "step": RunState.RUNNING,
        "renewal": RunState.RUNNING,
        "success": RunState.SUCCEEDED,
        "failure": RunState.WAITING,
        "last_failure": RunState.FAILED,
        "giving_up": RunState.FAILED,
        "hand_over": RunState.WAITING,
        "published": RunState.RUNNING,
    },
}
EVENTS = tuple(RUNS[RunState.RUNNING])
for final in (RunState.SUCCEEDED, RunState.FAILED, RunState.SKIPPED):
    RUNS[final] = dict.fromkeys(EVENTS, final)
#: After these the run is in another's hands: what its first holder does is without effect.
OVERTAKEN = ("step", "renewal", "success", "failure", "last_failure", "giving_up", "hand_over")


async def happen(scene: Scene, event: str) -> None:
    call: Callable[[], Awaitable[None]] = getattr(scene, event)
    await call()


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", RunState)
async def test_a_run_in_every_state_has_an_answer_to_every_event(
    connection: RawConnection, state: RunState, event: str
) -> None:
    scene = Scene(connection)
    await scene.be(state)
    await happen(scene, event)
    row = await connection.fetchrow("SELECT state, publish_due_at, ended_at FROM task_runs")
    assert row is not None
    assert row["state"] == RUNS[state][event]
    is_final = RUNS[state][event] not in (RunState.WAITING, RunState.RUNNING)
    assert (row["ended_at"] is not None) == (row["publish_due_at"] is None) == is_final


@pytest.mark.parametrize("event", OVERTAKEN)
async def test_nothing_that_an_overtaken_scheduler_does_has_an_effect(connection: RawConnection, event: str) -> None:
    scene = Scene(connection)
    await scene.be(RunState.RUNNING)
    await scene.claim_after_the_lease()
    before = await connection.fetchrow("SELECT * FROM task_runs")
    await happen(scene, event)
    assert await connection.fetchrow("SELECT * FROM task_runs") == before
    await stored.empty(connection)
