"""A newsletter's life: approved, scheduled or started, cancelled, sent again to those who did not open it.

Every start is a task's: so it happens exactly once, whoever asks and whoever dies. What runs is a mailing, and is
stopped as any other.
"""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.routes.newsletter_looks import Looking, report_on
from services.admin_api.routes.newsletters import NewsletterId, answer, newsletter_at
from services.admin_api.routes.tasks import check_is_to_come, next_due_at
from services.admin_api.schemas.newsletter_life import (
    NewsletterSchedule,
    NewsletterStart,
    Resend,
)
from services.admin_api.schemas.newsletters import NewsletterAnswer
from shared.contracts.task_kinds.start_newsletter import StartNewsletterParameters
from shared.core.newsletter import NewsletterState
from shared.core.preflight.finding import Severity
from shared.core.task import TaskKind
from shared.core.tracking import TrackingPolicy
from shared.store import newsletter_life, tasks
from shared.store.engine import Session
from shared.store.newsletters import Newsletter
from shared.store.tasks import ScheduledTask

router = APIRouter(prefix="/newsletters", tags=["Newsletters"], route_class=CheckedRoute)


@router.post("/{newsletter_id}/approve")
async def approve_newsletter(database: Store, newsletter_id: NewsletterId, preflight: Looking) -> NewsletterAnswer:
    """Let a draft be sent as it is now: it can be scheduled or started then. 409 with `errors` that say what the
    preflight refuses, and for what has started or was cancelled."""
    report = await report_on(preflight, newsletter_id)
    if report.is_refused:
        errors = [
            {"pointer": f"#/{finding.place.field}", "detail": finding.mend}
            for finding in report.findings
            if finding.severity is Severity.REFUSE
        ]
        raise Problem(409, "The preflight refuses it: see errors.", errors=errors)
    async with database.transaction() as session:
        newsletter = await newsletter_at(session, newsletter_id, for_change=True)
        if newsletter.updated_at != report.updated_at:
            raise Problem(409, "Somebody changes the newsletter at this moment.")
        if newsletter.state is NewsletterState.DRAFT:
            newsletter.state = NewsletterState.APPROVED
            newsletter.approved_at = await tasks.clock(session)
        elif newsletter.state not in (NewsletterState.APPROVED, NewsletterState.SCHEDULED):
            raise Problem(409, f"It is no draft: it is {newsletter.state.value}.")
        return await answer(session, newsletter)


@router.post("/{newsletter_id}/schedule")
async def schedule_newsletter(
    database: Store, newsletter_id: NewsletterId, schedule: NewsletterSchedule
) -> NewsletterAnswer:
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
) -> NewsletterAnswer:
    """Send an approved newsletter now: a scheduler begins within seconds. 409 unless it is approved or scheduled."""
    async with database.transaction() as session:
        newsletter = await _unscheduled(session, newsletter_id)
        now = await tasks.clock(session)
        given = how.model_dump(exclude_unset=True) if how else {}
        return await _scheduled(session, newsletter, NewsletterSchedule(at=now, **given), now)


@router.post("/{newsletter_id}/unschedule")
async def unschedule_newsletter(database: Store, newsletter_id: NewsletterId) -> NewsletterAnswer:
    """Let a scheduled newsletter be approved, and no more. What was made of it goes on. 409 once it has started."""
    async with database.transaction() as session:
        newsletter = await _unscheduled(session, newsletter_id)
        newsletter.state = NewsletterState.APPROVED
        return await answer(session, newsletter)


@router.post("/{newsletter_id}/cancel")
async def cancel_newsletter(database: Store, newsletter_id: NewsletterId) -> NewsletterAnswer:
    """Give a newsletter up that has not started; one that recurs makes no mailings any more.

    409 once it has started: its mailing is cancelled as `POST /mailings/{mailing_id}/cancel`.
    """
    async with database.transaction() as session:
        newsletter = _there(await newsletter_life.unscheduled(session, newsletter_id), newsletter_id)
        if newsletter.state is NewsletterState.STARTED:
            raise Problem(409, "It has started: cancel its mailing.")
        newsletter.state = NewsletterState.CANCELLED
        return await answer(session, newsletter)


@router.post("/{newsletter_id}/resend-to-unopened", status_code=201)
async def resend_newsletter(
    database: Store, newsletter_id: NewsletterId, response: Response, how: Resend | None = None
) -> NewsletterAnswer:
    """Make a draft with the same content for those who got the newsletter and did not open it, as far as is known when
    the draft is sent. 409 when it was not sent, or when it was not tracked who opens it."""
    how = how or Resend()
    async with database.transaction() as session:
        original = await newsletter_at(session, newsletter_id)
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
        return await answer(session, made)


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
) -> NewsletterAnswer:
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
    return await answer(session, newsletter)
