"""The task that sends a list's digests: made for a list that turns them on, so that nobody has to know of it."""

from __future__ import annotations

from shared.core.schedule import Recurrence
from shared.core.task import TaskKind
from shared.store import tasks
from shared.store.engine import Session
from shared.store.lists import MailingList
from shared.store.tasks import ScheduledTask

#: Six in the morning, UTC; lists that were made one after the other have different minutes.
HOUR = 6


async def make_task(session: Session, mailing_list: MailingList) -> None:
    """A task that sends the list's digest once a day, unless it has one: paused or changed, that is its operator's."""
    # Whoever turns them on at the same moment waits for this row.
    await session.flush()
    if await tasks.has_one_for_list(session, TaskKind.DIGEST, mailing_list.address):
        return
    now = await tasks.clock(session)
    cron = f"{mailing_list.id % 60} {HOUR} * * *"
    await tasks.add(
        session,
        ScheduledTask(
            name=f"Digest of {mailing_list.address}",
            kind=TaskKind.DIGEST.value,
            parameters={"list": mailing_list.address},
            cron=cron,
            next_due_at=Recurrence.parse(cron, "UTC").next_after(now),
            created_at=now,
            updated_at=now,
        ),
    )
