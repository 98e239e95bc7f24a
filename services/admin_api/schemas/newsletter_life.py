"""A newsletter's life, as requests and answers say it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from services.admin_api.schemas.base import MAX_ID
from services.admin_api.schemas.tasks import Expression, Name, RunAnswer, Scheduling, ZoneName
from shared.contracts.bodies import Answer, Body, Moment, OneLine, may_be_absent, refuse
from shared.core.newsletter import NewsletterStage
from shared.core.task import MissedPolicy


class NewsletterStart(Body):
    """How a newsletter is sent now."""

    not_after_at: Moment | None = may_be_absent()
    """No attempt begins after this moment, and what is open then expires; null is until its deliveries are given up.
    Absent: as the newsletter says."""


class NewsletterSchedule(Scheduling):
    """When a newsletter is sent: once, or again and again."""

    at: Moment | None = None
    """When, once. Either this or `cron`."""
    not_after_at: Moment | None = may_be_absent()
    """With `at`: no attempt begins after this moment, and what is open then expires; null is until its deliveries are
    given up. Absent: as the newsletter says."""
    cron: Expression | None = None
    """When, again and again: minute, hour, day of the month, month, day of the week, as tasks have it. Each occurrence
    is a mailing of its own, to whoever belongs to the audience at that time."""
    time_zone: ZoneName = "UTC"
    """The clock that the expression is read by, such as `Europe/Berlin`."""
    not_after_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """With `cron`: no attempt of an occurrence begins so many seconds after it fell due; 60 to 31,536,000."""
    missed: MissedPolicy = MissedPolicy.RUN_ONCE
    """What becomes of occurrences that fell due while no scheduler could start them: *run_once*, all of them together
    make one mailing as soon as one can; or *skip* those that are more than 300 seconds late."""

    @model_validator(mode="after")
    def _has_one_schedule(self) -> Self:
        if (self.cron is None) == (self.at is None):
            raise refuse("A newsletter is scheduled with either at or cron.")
        if self.cron is not None and self.not_after_at is not None:
            raise refuse("With cron, the last moment is not_after_seconds: each occurrence has its own.")
        if self.at is not None and self.not_after_seconds is not None:
            raise refuse("With at, the last moment is not_after_at.")
        return self


class Resend(Body):
    """How a newsletter goes again to those who did not open it."""

    mailing_id: Annotated[int, Field(ge=1, le=MAX_ID)] | None = None
    """Which of its mailings; absent or null is the newest."""
    name: Name | None = None
    """What people call the new newsletter: 1 to 200 characters; absent or null is the old name with `, again`."""
    subject: Annotated[OneLine, StringConstraints(min_length=1, max_length=500)] | None = None
    """Another subject; absent or null is the same."""


class ScheduleAnswer(Answer):
    """The task that sends a newsletter, `GET /tasks/{task_id}`."""

    task_id: int
    """The task's number."""
    at: Moment | None
    """When, once."""
    cron: str | None
    """When, again and again."""
    time_zone: str
    """The clock that the expression is read by."""
    missed: MissedPolicy
    """What becomes of occurrences that nobody could start."""
    not_after_seconds: int | None
    """No attempt of an occurrence begins so many seconds after it fell due."""
    next_due_at: Moment | None
    """Its next occurrence; null when none is to come, or the task is paused."""
    latest_run: RunAnswer | None
    """The newest occurrence that fell due, and what came of it: why nothing was sent is its `error`."""


class SendingAnswer(Answer):
    """A mailing of a newsletter. It is paused, resumed, cancelled and looked at as `/mailings/{mailing_id}`."""

    mailing_id: int
    """The mailing's number."""
    state: NewsletterStage
    """*running*, *paused*, *finished* or *cancelled*."""
    occurrence_at: Moment | None
    """The occurrence that it was made for."""
    recipients: int
    """Deliveries made so far."""
