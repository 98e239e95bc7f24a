"""A newsletter's life: approved, scheduled or started, cancelled, sent again to those who did not open it.

Every start is a task's: so it happens exactly once, whoever asks and whoever dies. What runs is a mailing, and is
stopped as any other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.routes.tasks import check_is_to_come, next_due_at, run_answer
from services.admin_api.schemas.base import MAX_ID
from services.admin_api.schemas.newsletter_life import (
    NewsletterSchedule,
    NewsletterStanding,
    NewsletterStart,
    Resend,
    ScheduleAnswer,
    SendingAnswer,
)
from shared.contracts.task_kinds.start_newsletter import StartNewsletterParameters
from shared.core.newsletter import NewsletterState
from shared.core.task import TaskKind
from shared.core.tracking import TrackingPolicy
from shared.store import newsletter_life, tasks
from shared.store.engine import Session
from shared.store.newsletter_life import Standing, sending_of
from shared.store.newsletters import Newsletter
from shared.store.tasks import ScheduledTask

router = APIRouter(prefix="/newsletters", tags=["Newsletters"], route_class=CheckedRoute)

NewsletterId = Annotated[int, Path(ge=1, le=MAX_ID, description="The newsletter's number.")]


@router.post("/{newsletter_id}/schedule")
async def schedule_newsletter(
    database: Store, newsletter_id: NewsletterId, schedule: NewsletterSchedule
) -> NewsletterStanding:
    """Send an approved newsletter once at a moment, or again and again; in the place of what was set before.

    409 unless it is approved or scheduled. It is sent as it is when its time comes, by whichever scheduler has room,
    exactly once for each occurrence.
    """
    async with database.transaction() as session:
        newsletter = await _unscheduled(session, newsletter_id)
        now = await tasks.clock(session)
        check_is_to_come(schedule.at, now)
        return await _scheduled(session, newsletter, schedule, now)


@router.post("/{newsletter_id}/start", status_code=202)
async def start_newsletter(
    database: Store, newsletter_id: NewsletterId, how: NewsletterStart | None = None
) -> NewsletterStanding:
    """Send an approved newsletter now: a scheduler begins within seconds. 409 unless it is approved or scheduled."""
    async with database.transaction() as session:
        newsletter = await _unscheduled(session, newsletter_id)
        now = await tasks.clock(session)
        given = how.model_dump(exclude_unset=True) if how else {}
        return await _scheduled(session, newsletter, NewsletterSchedule(at=now, **given), now)


@router.post("/{newsletter_id}/unschedule")
async def unschedule_newsletter(database: Store, newsletter_id: NewsletterId) -> NewsletterStanding:
    """Let a scheduled newsletter be approved, and no more. What was made of it goes on. 409 once it has started."""
    async with database.transaction() as session:
        newsletter = await _unscheduled(session, newsletter_id)
        newsletter.state = NewsletterState.APPROVED
        return await _standing(session, newsletter)


@router.post("/{newsletter_id}/cancel")
async def cancel_newsletter(database: Store, newsletter_id: NewsletterId) -> NewsletterStanding:
    """Give a newsletter up that has not started; one that recurs makes no mailings any more.

    409 once it has started: its mailing is cancelled as `POST /mailings/{mailing_id}/cancel`.
    """
    async with database.transaction() as session:
        newsletter = _there(await newsletter_life.unscheduled(session, newsletter_id), newsletter_id)
        if newsletter.state is NewsletterState.STARTED:
            raise Problem(409, "It has started: cancel its mailing.")
        newsletter.state = NewsletterState.CANCELLED
        return await _standing(session, newsletter)


@router.post("/{newsletter_id}/resend-to-unopened", status_code=201)
async def resend_newsletter(
    database: Store, newsletter_id: NewsletterId, response: Response, how: Resend | None = None
) -> NewsletterStanding:
    """Make a draft with the same content for those who got the newsletter and did not open it, as far as is known when
    the draft is sent. 409 when it was not sent, or when it was not tracked who opens it."""
    how = how or Resend()
    async with database.transaction() as session:
        original = _there(await newsletter_life.locked(session, newsletter_id), newsletter_id)
        mailing = await newsletter_life.mailing_of(session, newsletter_id, how.mailing_id)
        if mailing is None:
            raise Problem(409, "There is no such mailing of the newsletter.")
        if mailing.tracking is not TrackingPolicy.FULL:
            raise Problem(409, f"Mailing {mailing.id} was not tracked with names: nobody knows who opened it.")
        made = await newsletter_life.copy(
            session,
            original,
            mailing,
            name=how.name or f"{original.name[:192]}, again",
            subject=how.subject or original.subject,
        )
        response.headers["Location"] = f"/api/v1/newsletters/{made.id}"
        return await _standing(session, made)


async def _unscheduled(session: Session, newsletter_id: int) -> Newsletter:
    """The newsletter, locked and without its task; `Problem` unless it is approved or scheduled."""
    newsletter = _there(await newsletter_life.unscheduled(session, newsletter_id), newsletter_id)
    if newsletter.state not in (NewsletterState.APPROVED, NewsletterState.SCHEDULED):
        raise Problem(409, f"It is neither approved nor scheduled: it is {newsletter.state.value}.")
    return newsletter


def _there(newsletter: Newsletter | None, newsletter_id: int) -> Newsletter:
    if newsletter is None:
        raise Problem(404, f"There is no newsletter {newsletter_id}.")
    return newsletter


async def _scheduled(
    session: Session, newsletter: Newsletter, schedule: NewsletterSchedule, now: datetime
) -> NewsletterStanding:
    parameters = StartNewsletterParameters(newsletter_id=newsletter.id, not_after_seconds=schedule.not_after_seconds)
    task = ScheduledTask(
        name=newsletter.name,
        kind=TaskKind.START_NEWSLETTER.value,
        parameters=parameters.model_dump(mode="json"),
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        at=schedule.at,
        missed=schedule.missed,
        created_at=now,
        updated_at=now,
    )
    task.next_due_at = await next_due_at(session, task, now)
    await tasks.add(session, task)
    newsletter.task_id = task.id
    if "not_after_at" in schedule.model_fields_set:
        newsletter.not_after_at = schedule.not_after_at
    first_at = task.next_due_at or now
    if newsletter.not_after_at is not None and newsletter.not_after_at <= first_at:
        wrong = {"pointer": "#/not_after_at", "detail": "The last moment is before the first one."}
        raise Problem(422, "The request is not well formed: see errors.", errors=[wrong])
    newsletter.state = NewsletterState.SCHEDULED
    return await _standing(session, newsletter)


async def _standing(session: Session, newsletter: Newsletter) -> NewsletterStanding:
    await session.flush()
    return standing_answer(newsletter, (await newsletter_life.standings(session, [newsletter]))[newsletter.id])


def standing_answer(newsletter: Newsletter, standing: Standing) -> NewsletterStanding:
    return NewsletterStanding(
        id=newsletter.id,
        state=standing.stage,
        not_after_at=newsletter.not_after_at,
        schedule=_schedule_answer(standing),
        mailings=[
            SendingAnswer(
                mailing_id=mailing.id,
                state=sending_of(mailing).stage,
                occurrence_at=mailing.occurrence_at,
                recipients=mailing.recipients,
            )
            for mailing in standing.mailings
        ],
    )


def _schedule_answer(standing: Standing) -> ScheduleAnswer | None:
    task = standing.task
    if task is None:
        return None
    return ScheduleAnswer(
        task_id=task.id,
        at=task.at,
        cron=task.cron,
        time_zone=task.time_zone,
        missed=task.missed,
        not_after_seconds=task.parameters.get("not_after_seconds"),
        next_due_at=task.next_due_at,
        latest_run=run_answer(standing.latest_run) if standing.latest_run is not None else None,
    )
