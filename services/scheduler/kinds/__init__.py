"""What tasks do, one kind a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from services.scheduler.fetching import Fetcher
from services.scheduler.kinds.digest import digest
from services.scheduler.kinds.dns_check import DnsCheck
from services.scheduler.kinds.held_members import HeldMembers
from services.scheduler.kinds.held_posts import Follow, HeldPosts
from services.scheduler.kinds.member_sync import MemberSync
from services.scheduler.kinds.purge import purge
from services.scheduler.kinds.roll_up import roll_up
from services.scheduler.kinds.start_newsletter import StartNewsletter
from services.scheduler.run import Run
from shared.core.task import TaskKind
from shared.runtime.moderation import Telling
from shared.runtime.subscriptions import Subscriptions

#: Does one run with the kind's parameters; what comes back is a dataclass, the run's result.
Doing = Callable[[Run, Any], Awaitable[Any]]


def doings(
    fetcher: Fetcher,
    telling: Telling,
    subscriptions: Subscriptions,
    follow: Follow,
    start_newsletter: StartNewsletter,
    dns_check: DnsCheck,
) -> Mapping[TaskKind, Doing]:
    """Every kind and how it is done."""
    return {
        TaskKind.PURGE: purge,
        TaskKind.MEMBER_SYNC: MemberSync(fetcher),
        TaskKind.HELD_POSTS: HeldPosts(telling, follow),
        TaskKind.ROLL_UP: roll_up,
        TaskKind.DNS_CHECK: dns_check,
        TaskKind.START_NEWSLETTER: start_newsletter,
        TaskKind.DIGEST: digest,
        TaskKind.HELD_MEMBERS: HeldMembers(subscriptions, follow),
    }
