"""What `/metrics` tells of a scheduler."""

from __future__ import annotations

from prometheus_client import Counter

TASK_TRIES = Counter(
    "listfleet_task_tries",
    "Tries of runs of scheduled tasks that this scheduler ended, by kind and by how they ended.",
    ["kind", "ending"],
)
