"""Scheduled tasks and their runs, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, StringConstraints, WithJsonSchema, field_validator, model_validator

from shared.contracts.bodies import Answer, Body, Moment, OneLine, may_be_absent, refuse
from shared.contracts.task_kinds import PARAMETERS
from shared.core.cron import MAX_CHARACTERS, Cron, InvalidCron
from shared.core.schedule import UnknownTimeZone, zone_of
from shared.core.task import MissedPolicy, RunState, TaskKind

Name = Annotated[OneLine, StringConstraints(min_length=1, max_length=200)]
Expression = Annotated[OneLine, StringConstraints(max_length=MAX_CHARACTERS)]
ZoneName = Annotated[OneLine, StringConstraints(max_length=100)]
#: What the kind takes: checked by the kind's own schema, once the kind is known.
Parameters = Annotated[
    dict[str, JsonValue],
    WithJsonSchema({"anyOf": [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in PARAMETERS.values()]}),
]


class Scheduling(Body):
    """What may be wrong with a moment, an expression, or a time zone."""

    @field_validator("cron", check_fields=False)
    @classmethod
    def _is_an_expression(cls, cron: str | None) -> str | None:
        if cron is not None:
            try:
                Cron.parse(cron)
            except InvalidCron as error:
                raise refuse(str(error)) from error
        return cron

    @field_validator("time_zone", check_fields=False)
    @classmethod
    def _is_a_time_zone(cls, time_zone: str) -> str:
        try:
            zone_of(time_zone)
        except UnknownTimeZone as error:
            raise refuse(str(error)) from error
        return time_zone


class NewTask(Scheduling):
    """A task to make: what it does, and when. There is no way to say which scheduler does it: whichever has room."""

    name: Name
    """What people call it: 1 to 200 characters on one line."""
    kind: TaskKind
    """What it does. *purge*: deletes what is old (PurgeParameters). *member_sync*: reads a list's members
    from a file at an address (MemberSyncParameters). *held_posts*: reminds moderators of posts that wait for them, and
    ends those that waited too long (HeldPostsParameters). *start_newsletter*: sends an approved newsletter
    (StartNewsletterParameters; `POST /newsletters/{id}/schedule` makes such a task)."""
    parameters: Parameters = Field(default_factory=dict)
    """What the kind takes: the schema named like it."""
    cron: Expression | None = None
    """When, again and again: minute, hour, day of the month, month, day of the week, as in `30 2 * * mon-fri`. `*`,
    lists, ranges, steps, names, and `L` for the month's last day. Either this or `at`."""
    time_zone: ZoneName = "UTC"
    """The clock that the expression is read by, such as `Europe/Berlin`. A time that a clock change leaves out happens
    once, at the first moment after it; one that it brings twice, once. An expression that names no hour is an interval,
    and follows the clock through the change."""
    at: Moment | None = None
    """When, once. Either this or `cron`."""
    is_enabled: bool = True
    """Whether it is done at its times. Paused, it is done only when somebody asks for it."""
    missed: MissedPolicy = MissedPolicy.RUN_ONCE
    """What becomes of occurrences that fell due while no scheduler could start them: *run_once*, all of them together
    as soon as one can; or *skip* those that are more than 300 seconds late."""

    @model_validator(mode="after")
    def _has_one_schedule(self) -> Self:
        if (self.cron is None) == (self.at is None):
            raise refuse("A task has either cron or at.")
        return self


class TaskChange(Scheduling):
    """What to change of a task; what is absent stays as it is. A task keeps its kind."""

    name: Name = may_be_absent()
    """What people call it: 1 to 200 characters on one line."""
    parameters: Parameters = may_be_absent()
    """All parameters from now on; a run that is under way goes on with those it began with."""
    cron: Expression = may_be_absent()
    """When, again and again, in the place of what was set before."""
    time_zone: ZoneName = may_be_absent()
    """The clock that the expression is read by."""
    at: Moment = may_be_absent()
    """When, once, in the place of what was set before."""
    is_enabled: bool = may_be_absent()
    """False pauses the task: what falls due meanwhile is not missed. A run that is under way is finished."""
    missed: MissedPolicy = may_be_absent()
    """What becomes of occurrences that fell due while no scheduler could start them."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_nulls(cls, given: Any) -> Any:
        if isinstance(given, dict) and (nulls := [name for name, value in given.items() if value is None]):
            raise refuse(f"{nulls[0]} cannot be null.")
        return given

    @model_validator(mode="after")
    def _has_one_schedule(self) -> Self:
        if {"cron", "at"} <= self.model_fields_set:
            raise refuse("A task has either cron or at.")
        return self


class RunAnswer(Answer):
    """An occurrence of a task, and what came of it."""

    id: int
    """The run's number."""
    task_id: int
    """The task's number."""
    due_at: Moment
    """When it fell due; of a run that somebody asked for, when they did."""
    missed_since_at: Moment | None
    """The first of the occurrences that were missed before it, for which this one stands too."""
    is_asked_for: bool
    """Whether somebody asked for it, rather than the schedule."""
    state: RunState
    """*waiting* (due, or to be tried again at `again_at`), *running*, *succeeded*, *failed* (after 5 tries), or
    *skipped* (missed)."""
    node: str | None
    """The scheduler that has it in hand, or had it last: its name among the nodes."""
    started_at: Moment | None
    """When its first try began."""
    ended_at: Moment | None
    """When it ended, for good."""
    failures: int
    """Tries that came to nothing, those included whose scheduler died."""
    again_at: Moment | None
    """When it is tried again, if a try has failed."""
    result: dict[str, Any] | None
    """What was done, in the kind's own terms."""
    error: str | None
    """What the latest try that failed died of."""


class TaskAnswer(Answer):
    """A scheduled task."""

    id: int
    """The task's number."""
    name: str
    """What people call it."""
    kind: str
    """What it does."""
    parameters: dict[str, Any]
    """What the kind takes."""
    cron: str | None
    """When, again and again."""
    time_zone: str
    """The clock that the expression is read by."""
    at: Moment | None
    """When, once."""
    is_enabled: bool
    """Whether it is done at its times."""
    missed: MissedPolicy
    """What becomes of occurrences that fell due while no scheduler could start them."""
    next_due_at: Moment | None
    """Its next occurrence, by the database's clock; null when it is paused or none is to come."""
    latest_run: RunAnswer | None
    """Its newest run."""
    created_at: Moment
    """When it was made."""
    updated_at: Moment
    """When it was changed."""
