"""Scheduled tasks and their runs. Rows first: whichever scheduler has room does what is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Request, Response
from pydantic import ValidationError

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem, wrong_part
from services.admin_api.routes.lists import Store
from services.admin_api.routes.parked import Publish, publish_of
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.tasks import NewTask, RunAnswer, TaskAnswer, TaskChange
from shared.contracts.commands import RunTask
from shared.contracts.task_kinds import PARAMETERS
from shared.contracts.task_kinds.member_sync import ALLOWED_PLACES
from shared.contracts.topology import TaskQueue
from shared.core.schedule import Once
from shared.core.task import MISSED_AFTER_SECONDS, RunState, TaskKind
from shared.store import task_runs, tasks
from shared.store.engine import Session
from shared.store.task_runs import TaskRun
from shared.store.tasks import ScheduledTask, schedule_of

#: A run that somebody asks for is published behind the answer; a scheduler does it when that failed.
PUBLISH_WITHIN_SECONDS = 5.0

router = APIRouter(prefix="/tasks", tags=["Scheduled tasks"], route_class=CheckedRoute)

TaskId = Annotated[int, Path(ge=1, le=MAX_ID, description="The task's number.")]


def _validation_context(request: Request) -> dict[str, Any]:
    """What the parameters of kinds are checked against besides their form."""
    return {ALLOWED_PLACES: request.app.state.sync_places}


Allowed = Annotated[dict[str, Any], Depends(_validation_context)]
Publishing = Annotated[Publish, Depends(publish_of)]


@router.get("")
async def get_tasks(database: Store, which: WhichPage) -> Page[TaskAnswer]:
    """All tasks, in the order they were made."""
    async with database.snapshot() as session:
        found = await tasks.page(session, after_id=which.after_id or 0, limit=which.fetch)
        latest = await task_runs.latest(session, [task.id for task in found])
    return which.page(found, lambda task: _answer(task, latest.get(task.id)), lambda task: task.id)


@router.post("", status_code=201)
async def make_task(database: Store, new: NewTask, allowed: Allowed, response: Response) -> TaskAnswer:
    """Make a task. Whichever scheduler has room does it at its times, each occurrence once."""
    async with database.transaction() as session:
        now = await tasks.clock(session)
        task = ScheduledTask(
            name=new.name,
            kind=new.kind.value,
            parameters=_checked(new.kind, new.parameters, allowed),
            cron=new.cron,
            time_zone=new.time_zone,
            at=new.at,
            is_enabled=new.is_enabled,
            missed=new.missed,
            created_at=now,
            updated_at=now,
        )
        check_is_to_come(new.at, now)
        task.next_due_at = await next_due_at(session, task, now)
        await tasks.add(session, task)
    response.headers["Location"] = f"/api/v1/tasks/{task.id}"
    return _answer(task, None)


@router.get("/{task_id}")
async def get_task(database: Store, task_id: TaskId) -> TaskAnswer:
    """One task, and its newest run."""
    async with database.snapshot() as session:
        return await _answer_of(session, await _task_at(session, task_id))


@router.patch("/{task_id}")
async def change_task(database: Store, task_id: TaskId, change: TaskChange, allowed: Allowed) -> TaskAnswer:
    """Change a task, pause it, or let it go on. Its next occurrence is counted from now."""
    async with database.transaction() as session:
        task = await _task_at(session, task_id, for_change=True)
        now = await tasks.clock(session)
        given = change.model_dump(exclude_unset=True)
        if "parameters" in given:
            given["parameters"] = _checked(TaskKind(task.kind), given["parameters"], allowed)
        if "at" in given:
            check_is_to_come(change.at, now)
            given["cron"] = None
        elif "cron" in given:
            given["at"] = None
        for name, value in given.items():
            setattr(task, name, value)
        if given.keys() & {"cron", "at", "time_zone", "is_enabled"}:
            task.next_due_at = await next_due_at(session, task, now)
        task.updated_at = now
        await session.flush()
        return await _answer_of(session, task)


@router.delete("/{task_id}", status_code=204)
async def delete_task(database: Store, task_id: TaskId) -> None:
    """Forget a task and its runs. A run that is under way ends at its next step."""
    async with database.transaction() as session:
        await tasks.remove(session, await _task_at(session, task_id, for_change=True))


@router.post("/{task_id}/run", status_code=202)
async def run_task(database: Store, task_id: TaskId, publish: Publishing, background: BackgroundTasks) -> RunAnswer:
    """Run the task now, also a paused one. Its times stay as they are. 409 while a run of it has not ended."""
    async with database.transaction() as session:
        await _task_at(session, task_id, for_change=True)
        run = await task_runs.ask_for(session, task_id, publish_after_seconds=PUBLISH_WITHIN_SECONDS)
        if run is None:
            raise Problem(409, f"A run of task {task_id} has not ended.")
    background.add_task(publish, TaskQueue.SCHEDULED.value, RunTask(run.id))
    return run_answer(run)


@router.get("/{task_id}/runs")
async def get_runs(database: Store, task_id: TaskId, which: WhichPage) -> Page[RunAnswer]:
    """A task's runs, newest first."""
    async with database.snapshot() as session:
        await _task_at(session, task_id)
        found = await task_runs.page(session, task_id, before_id=which.after_id, limit=which.fetch)
    return which.page(found, run_answer, lambda run: run.id)


async def _task_at(session: Session, task_id: int, *, for_change: bool = False) -> ScheduledTask:
    found = await tasks.get(session, task_id, for_change=for_change)
    if found is None:
        raise Problem(404, f"There is no task {task_id}.")
    return found


def _checked(kind: TaskKind, parameters: dict[str, Any], allowed: dict[str, Any]) -> dict[str, Any]:
    """The parameters as they are kept; `Problem` 422 that names each field that the kind does not take."""
    try:
        checked = PARAMETERS[kind].model_validate(parameters, context=allowed)
    except ValidationError as error:
        errors = [
            wrong_part(
                ["body", "parameters", *found["loc"]],
                "There is no such field." if found["type"] == "extra_forbidden" else found["msg"],
            )
            for found in error.errors(include_url=False)
        ]
        raise Problem(422, "The request is not well formed: see errors.", errors=errors) from error
    return checked.model_dump(mode="json", exclude_unset=True)


def check_is_to_come(at: datetime | None, now: datetime) -> None:
    # The client's clock may be a little behind the database's.
    if at is not None and at < now - timedelta(seconds=MISSED_AFTER_SECONDS):
        wrong = {"pointer": "#/at", "detail": "This moment has passed."}
        raise Problem(422, "The request is not well formed: see errors.", errors=[wrong])


async def next_due_at(session: Session, task: ScheduledTask, now: datetime) -> datetime | None:
    if not task.is_enabled:
        return None
    schedule = schedule_of(task.cron, task.time_zone, task.at)
    if isinstance(schedule, Once):
        # Once means once, however often the task is paused.
        has_run = task.id is not None and await task_runs.has_run_at(session, task.id, schedule.at)
        return None if has_run else schedule.at
    return schedule.next_after(now)


async def _answer_of(session: Session, task: ScheduledTask) -> TaskAnswer:
    return _answer(task, (await task_runs.latest(session, [task.id])).get(task.id))


def _answer(task: ScheduledTask, latest_run: TaskRun | None) -> TaskAnswer:
    return TaskAnswer(
        id=task.id,
        name=task.name,
        kind=task.kind,
        parameters=task.parameters,
        cron=task.cron,
        time_zone=task.time_zone,
        at=task.at,
        is_enabled=task.is_enabled,
        missed=task.missed,
        next_due_at=task.next_due_at,
        latest_run=run_answer(latest_run) if latest_run is not None else None,
        created_at=task.created_at,
        updated_at=task.updated_at,
    )


def run_answer(run: TaskRun) -> RunAnswer:
    is_to_be_tried_again = run.state is RunState.WAITING and run.failures > 0
    return RunAnswer(
        id=run.id,
        task_id=run.task_id,
        due_at=run.due_at,
        missed_since_at=run.missed_since_at,
        is_asked_for=run.is_asked_for,
        state=run.state,
        node=run.node_name,
        started_at=run.started_at,
        ended_at=run.ended_at,
        failures=run.failures,
        again_at=run.free_at if is_to_be_tried_again else None,
        result=run.result,
        error=run.error,
    )
