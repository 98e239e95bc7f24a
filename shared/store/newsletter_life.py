"""A newsletter's life: its task, and the mailings that were made of it.

Whoever takes a newsletter's schedule away deletes its task before the newsletter's row is locked: a run of the task
that is under way has its own row locked, and wants the newsletter's next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, text
from sqlmodel import col, select

from shared.core.newsletter import NewsletterStage, NewsletterState, Sending, stage_of
from shared.store import newsletters, task_runs
from shared.store.engine import Session
from shared.store.mailings import Mailing
from shared.store.newsletters import Newsletter
from shared.store.task_runs import TaskRun
from shared.store.tasks import ScheduledTask

#: Of one that recurs, so many of its mailings are shown.
SHOWN_MAILINGS = 20

_COPIED = ("from_name", "from_address", "reply_to_address", "template_id", "preheader", "text", "html")
_OF_AN_ATTACHMENT = "file_name, content_type, content_id, content"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a newsletter stands."""

    stage: NewsletterStage
    task: ScheduledTask | None
    latest_run: TaskRun | None
    #: The newest ones, newest first.
    mailings: Sequence[Mailing]


def sending_of(mailing: Mailing) -> Sending:
    """What the newsletter shows of it."""
    return Sending(mailing.state, mailing.is_paused, mailing.cancelled_at is not None)


async def unscheduled(session: Session, newsletter_id: int) -> Newsletter | None:
    """The newsletter, its row locked until the transaction ends, without a task; a run of it under way ends at its next
    step, without effect."""
    while True:
        task_id = (
            await session.exec(select(Newsletter.task_id).where(col(Newsletter.id) == newsletter_id))
        ).one_or_none()
        if task_id is not None:
            await session.exec(delete(ScheduledTask).where(col(ScheduledTask.id) == task_id))
        newsletter = await newsletters.get(session, newsletter_id, for_change=True)
        if newsletter is None or newsletter.task_id is None:
            return newsletter


async def standings(
    session: Session, of: Collection[Newsletter], *, shown_mailings: int = SHOWN_MAILINGS
) -> Mapping[int, Standing]:
    """How each of these stands, by its id."""
    task_ids = [newsletter.task_id for newsletter in of if newsletter.task_id is not None]
    found = await session.exec(select(ScheduledTask).where(col(ScheduledTask.id).in_(task_ids)))
    tasks = {task.id: task for task in found.all()}
    runs = await task_runs.latest(session, task_ids)
    mailings = await _mailings_of(session, [newsletter.id for newsletter in of], shown_mailings)
    return {
        newsletter.id: _standing(
            newsletter,
            tasks.get(newsletter.task_id or 0),
            runs.get(newsletter.task_id or 0),
            [mailing for mailing in mailings if mailing.newsletter_id == newsletter.id],
        )
        for newsletter in of
    }


def _standing(
    newsletter: Newsletter, task: ScheduledTask | None, latest_run: TaskRun | None, mailings: Sequence[Mailing]
) -> Standing:
    is_in_hand = latest_run is not None and latest_run.ended_at is None
    is_due = task is not None and (is_in_hand or (task.is_enabled and task.next_due_at is not None))
    latest = sending_of(mailings[0]) if mailings else None
    return Standing(stage_of(newsletter.state, is_due=is_due, latest=latest), task, latest_run, mailings)


async def _mailings_of(session: Session, newsletter_ids: Sequence[int], shown: int) -> Sequence[Mailing]:
    connection = await session.connection()
    newest = await connection.execute(
        text(
            """
            SELECT m.id FROM unnest(CAST(:ids AS bigint[])) n, LATERAL (
                SELECT id FROM mailings WHERE newsletter_id = n ORDER BY occurrence_at DESC LIMIT :shown
            ) m
            """
        ),
        {"ids": list(newsletter_ids), "shown": shown},
    )
    statement = select(Mailing).where(col(Mailing.id).in_(newest.scalars().all())).order_by(col(Mailing.id).desc())
    return (await session.exec(statement)).all()


async def mailing_of(session: Session, newsletter_id: int, mailing_id: int | None) -> Mailing | None:
    """This mailing of the newsletter, or its newest one."""
    statement = select(Mailing).where(col(Mailing.newsletter_id) == newsletter_id)
    if mailing_id is not None:
        statement = statement.where(col(Mailing.id) == mailing_id)
    return (await session.exec(statement.order_by(col(Mailing.occurrence_at).desc()).limit(1))).one_or_none()


async def copy(session: Session, original: Newsletter, mailing: Mailing, *, name: str, subject: str) -> Newsletter:
    """A new draft with the content of `original`, for those who got the mailing and did not open it."""
    made = Newsletter(
        name=name,
        state=NewsletterState.DRAFT,
        list_ids=mailing.list_ids or original.list_ids,
        unopened_of_mailing_id=mailing.id,
        **{field: getattr(original, field) for field in _COPIED},
        subject=subject,
    )
    session.add(made)
    await session.flush()
    connection = await session.connection()
    await connection.execute(
        text(
            f"""
            INSERT INTO newsletter_attachments (newsletter_id, {_OF_AN_ATTACHMENT})
            SELECT :made, {_OF_AN_ATTACHMENT} FROM newsletter_attachments WHERE newsletter_id = :original ORDER BY id
            """
        ),
        {"made": made.id, "original": original.id},
    )
    await session.refresh(made)
    return made
