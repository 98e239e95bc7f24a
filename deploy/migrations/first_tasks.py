"""The scheduled tasks that a new cluster begins with, so that nobody has to know of them: tasks as any others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, text

from shared.core.schedule import Recurrence
from shared.core.task import MissedPolicy, TaskKind
from shared.store.tasks import ScheduledTask


@dataclass(frozen=True, slots=True)
class FirstTask:
    """Its times are UTC; what its parameters leave out is as usual."""

    name: str
    kind: TaskKind
    cron: str
    parameters: Mapping[str, int] = field(default_factory=dict)


FIRST_TASKS = (
    FirstTask("Statistics of large mailings", TaskKind.ROLL_UP, "*/10 * * * *"),
    FirstTask("Posts that wait for a moderator", TaskKind.HELD_POSTS, "15 * * * *"),
    FirstTask("Members held after bounces", TaskKind.HELD_MEMBERS, "30 9 * * *"),
    # Nothing that anybody wrote, read or was sent: how long that is kept is the operator's to say.
    FirstTask("Old runs and requests", TaskKind.PURGE, "30 2 * * *", {"run_days": 30, "request_days": 90}),
)


def make_first_tasks(connection: Connection) -> None:
    """Rows of all of them, from now on by the database's clock."""
    now = connection.execute(text("SELECT now()")).scalar_one()
    connection.execute(
        insert(ScheduledTask),
        [
            {
                "name": task.name,
                "kind": task.kind.value,
                "parameters": dict(task.parameters),
                "cron": task.cron,
                "missed": MissedPolicy.RUN_ONCE,
                "next_due_at": Recurrence.parse(task.cron, "UTC").next_after(now),
                "created_at": now,
                "updated_at": now,
            }
            for task in FIRST_TASKS
        ],
    )
