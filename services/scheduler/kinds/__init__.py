"""What tasks do, one kind a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.scheduler.fetching import Fetcher
from services.scheduler.kinds.member_sync import MemberSync
from services.scheduler.kinds.purge import purge
from services.scheduler.run import Run
from shared.core.task import TaskKind

#: Does one run with the kind's parameters; what comes back is a dataclass, the run's result.
Doing = Callable[[Run, Any], Awaitable[Any]]


def doings(fetcher: Fetcher) -> Mapping[TaskKind, Doing]:
    """Every kind and how it is done."""
    return {
        TaskKind.PURGE: purge,
        TaskKind.MEMBER_SYNC: MemberSync(fetcher),
    }
