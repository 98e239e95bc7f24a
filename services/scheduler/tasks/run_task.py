"""A run of a scheduled task is to be done: claim it, do it, and write down what came of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from random import random
from uuid import UUID, uuid4

import structlog
from pydantic import ValidationError

from services.scheduler.kinds import Doing
from services.scheduler.metrics import TASK_TRIES
from services.scheduler.run import ClaimLost, HandedOver, Run, TaskFailed, TaskRefused
from shared.contracts.commands import RunTask
from shared.contracts.task_kinds import PARAMETERS
from shared.contracts.task_kinds.member_sync import ALLOWED_PLACES
from shared.core.smtp_reply import clean_text
from shared.core.task import MAX_TRIES, TaskKind, try_again_after_seconds
from shared.store import task_runs
from shared.store.engine import Database, RawConnection, StoreUnavailable
from shared.store.patience import until_available
from shared.store.task_runs import ClaimedRun
from shared.transfer.rows import sentence_of

_log = structlog.get_logger(__name__)

#: How often a lease is renewed in its time.
RENEWALS_A_LEASE = 5


@dataclass(frozen=True, slots=True)
class Succeeded:
    result_json: str


@dataclass(frozen=True, slots=True)
class Failed:
    because: str
    #: Trying again would be of no use.
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Too many schedulers died of it."""


@dataclass(frozen=True, slots=True)
class LeftToOthers:
    """Handed over, or in another's hands already."""


Ending = Succeeded | Failed | GivenUp | LeftToOthers
_ENDINGS = {Succeeded: "succeeded", Failed: "failed", GivenUp: "given_up", LeftToOthers: "left_to_others"}


class RunTasks:
    """Does runs, as many at once as the queue hands out, and keeps their leases."""

    def __init__(
        self,
        database: Database,
        doings: Mapping[TaskKind, Doing],
        *,
        node_name: Callable[[], str],
        lease_seconds: float,
        allowed_places: Collection[str] = (),
    ) -> None:
        self._database = database
        self._doings = doings
        self._node_name = node_name
        self._lease_seconds = lease_seconds
        # As when they were set: what is allowed may have changed since.
        self._validation_context = {ALLOWED_PLACES: allowed_places}
        #: By their claims.
        self._in_hand: dict[UUID, tuple[ClaimedRun, asyncio.Task[Ending]]] = {}
        #: Whether it begins nothing more.
        self.is_leaving = False

    async def __call__(self, command: RunTask) -> None:
        """Return when the run has ended, is handed over, or was not to be had."""
        token = uuid4()

        async def claim() -> ClaimedRun | None:
            async with self._database.raw_transaction() as connection:
                return await task_runs.claim(
                    connection,
                    command.run_id,
                    token=token,
                    node_name=self._node_name(),
                    lease_seconds=self._lease_seconds,
                )

        claimed = await until_available(claim, doing="claiming a run")
        if claimed is None:
            return
        doing = asyncio.create_task(self._do(claimed))
        self._in_hand[token] = (claimed, doing)
        try:
            (finished,), _ = await asyncio.wait([doing])
            ending = LeftToOthers() if finished.cancelled() else finished.result()
        finally:
            del self._in_hand[token]
        await until_available(lambda: self._write_down(claimed, ending), doing="ending a run")
        TASK_TRIES.labels(claimed.kind, _ENDINGS[type(ending)]).inc()

    async def _do(self, claimed: ClaimedRun) -> Ending:
        if claimed.failures >= MAX_TRIES:
            return GivenUp()
        run = Run(claimed, self._database, lease_seconds=self._lease_seconds, is_leaving=lambda: self.is_leaving)
        try:
            kind = TaskKind(claimed.kind)
            parameters = PARAMETERS[kind].model_validate_json(claimed.parameters_json, context=self._validation_context)
            result = await self._doings[kind](run, parameters)
            return Succeeded(json.dumps(asdict(result)))
        except (HandedOver, ClaimLost):
            return LeftToOthers()
        except TaskFailed as failure:
            return Failed(str(failure), is_final=isinstance(failure, TaskRefused))
        except ValidationError as error:
            return Failed(f"The parameters do not hold any more: {sentence_of(error)}")
        except StoreUnavailable as error:
            return Failed(f"The database was away: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown at the run, and the others go on
            _log.exception("run failed", run=claimed.id)
            return Failed(f"{type(error).__name__}: {error}")

    async def _write_down(self, claimed: ClaimedRun, ending: Ending) -> None:
        async with self._database.raw() as connection:
            if isinstance(ending, Succeeded):
                await task_runs.succeed(connection, claimed, ending.result_json)
            elif isinstance(ending, Failed):
                await self._fail(connection, claimed, ending)
            elif isinstance(ending, GivenUp):
                await task_runs.give_up(connection, claimed)
            else:
                # Without effect where it is in another's hands.
                await task_runs.hand_over(connection, claimed)

    async def _fail(self, connection: RawConnection, claimed: ClaimedRun, failed: Failed) -> None:
        wait_seconds = try_again_after_seconds(claimed.failures + 1, random())  # noqa: S311 - spreads waits only
        if failed.is_final:
            wait_seconds = None
        _log.warning(
            "run failed", run=claimed.id, task=claimed.task_id, because=failed.because, again_after=wait_seconds
        )
        await task_runs.fail(connection, claimed, clean_text(failed.because), again_after_seconds=wait_seconds)

    async def run(self) -> None:
        """Renew the leases of what is in hand until cancelled; what is in another's hands by now is broken off."""
        while True:
            await asyncio.sleep(self._lease_seconds / RENEWALS_A_LEASE)
            try:
                await self._renew()
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("leases of runs not renewed", error=str(error))

    async def _renew(self) -> None:
        in_hand = list(self._in_hand.values())
        if not in_hand:
            return
        async with asyncio.timeout(self._lease_seconds / RENEWALS_A_LEASE), self._database.raw() as connection:
            ours = await task_runs.renew(
                connection, [claimed for claimed, _ in in_hand], lease_seconds=self._lease_seconds
            )
        for claimed, doing in in_hand:
            if claimed.claim not in ours and not doing.done():
                _log.warning("run lost: another has it, or its task is gone", run=claimed.id)
                doing.cancel()

    def leave(self, *, cut_off_after_seconds: float) -> None:
        """Begin nothing more, hand over at the next step, and break off what takes longer than so."""
        self.is_leaving = True

        def cut_off() -> None:
            for _, doing in self._in_hand.values():
                doing.cancel()

        asyncio.get_running_loop().call_later(cut_off_after_seconds, cut_off)
