"""Newsletters to begin with, and schedulers that start them."""

from __future__ import annotations

from uuid import uuid4

from services.scheduler.kinds.start_newsletter import StartNewsletter
from services.scheduler.tasks.run_task import RunTasks
from shared.core.task import TaskKind
from shared.store.engine import Database, RawConnection
from shared.store.newsletter_starts import ComposedMailing
from tests.fakes.kept_publisher import KeptPublisher


async def new_newsletter(connection: RawConnection, *list_ids: int, state: str = "approved") -> int:
    """A newsletter to the members of these lists."""
    newsletter_id: int = await connection.fetchval(
        """
        INSERT INTO newsletters (name, state, list_ids, from_name, subject, preheader, text, html)
        VALUES ('October', $1::newsletter_state, $2, 'The News', 'News of October', '', 'Hello.', '') RETURNING id
        """,
        state,
        list(list_ids),
    )
    return newsletter_id


class Composing:
    """Composes in this process, and counts; `before` is what happens at that moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.times = 0

    async def __call__(self, newsletter_id: int) -> ComposedMailing | None:
        self.times += 1
        async with self._database.raw() as connection:
            updated_at = await connection.fetchval("SELECT updated_at FROM newsletters WHERE id = $1", newsletter_id)
        if updated_at is None:
            return None
        content = b"Subject: News of October\r\n\r\nHello.\r\n"
        return ComposedMailing(uuid4(), content, "News of October", "lists.example.org", updated_at)


def starting(database: Database, publisher: KeptPublisher, compose: Composing, name: str = "scheduler-1") -> RunTasks:
    """A scheduler that does one kind of tasks."""
    start = StartNewsletter(compose, publisher, publish_within_seconds=5, give_up_after_seconds=432_000)
    return RunTasks(database, {TaskKind.START_NEWSLETTER: start}, node_name=lambda: name, lease_seconds=30)
