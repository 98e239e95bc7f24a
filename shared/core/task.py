"""Scheduled tasks: what kinds there are, what becomes of an occurrence, and when a failed one is tried again."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum


class TaskKind(StrEnum):
    """What a task does. Each has its parameters in `contracts/task_kinds` and its doing in `scheduler/kinds`."""

    #: Deletes what is older than so many days, never what is outstanding.
    PURGE = "purge"
    #: Reads a list's members from a file at an address.
    MEMBER_SYNC = "member_sync"
    #: Counts what became of mailings' deliveries, so that statistics of large ones are quick.
    ROLL_UP = "roll_up"
    #: Compares the records that the cluster needs with what the DNS has.
    DNS_CHECK = "dns_check"
    #: Reminds moderators of posts that wait for them, and ends those that waited too long.
    HELD_POSTS = "held_posts"
    #: Makes a mailing of a newsletter.
    START_NEWSLETTER = "start_newsletter"
    #: Sends what a list has collected for readers of digests.
    DIGEST = "digest"
    #: Reminds members who are held after bounces, and lets those go who do not answer.
    HELD_MEMBERS = "held_members"


class MissedPolicy(StrEnum):
    """What becomes of occurrences that fell due while nobody could start them."""

    #: All of them together are run once, as soon as somebody can.
    RUN_ONCE = "run_once"
    #: They are written down as skipped; the next one is run at its time.
    SKIP = "skip"


class RunState(StrEnum):
    """Where an occurrence of a task stands. *Succeeded*, *failed* and *skipped* are final.

    waiting → running (claim) → succeeded | failed · running → waiting (failed and to be tried again, handed over)
    running → running (claimed by another when the lease is over)
    """

    #: Due, or to be tried again at `free_at`.
    WAITING = "waiting"
    #: In a scheduler's hands for as long as its lease lasts.
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    #: Given up after `MAX_TRIES`.
    FAILED = "failed"
    #: Missed, and not made up for.
    SKIPPED = "skipped"


#: An occurrence that could not be started for so long was missed; less is a moment's inattention.
MISSED_AFTER_SECONDS = 300.0
#: Tries of one occurrence, those included that ended with the death of their node.
MAX_TRIES = 5
#: Seconds until the next try, by how many failed.
TRY_AGAIN_SECONDS = (30.0, 120.0, 600.0, 1800.0)
#: The waits are spread by so much, so that what failed together does not come back together.
JITTER = 0.1


def try_again_after_seconds(failures: int, random: float) -> float | None:
    """The wait after so many failed tries (from 1), `None` when no more are made; `random` is from [0, 1)."""
    if failures >= MAX_TRIES:
        return None
    return TRY_AGAIN_SECONDS[failures - 1] * (1 - JITTER + 2 * JITTER * random)


def is_skipped(policy: MissedPolicy, due_at: datetime, now: datetime) -> bool:
    """Whether an occurrence that nobody has started by `now` is not to be run any more."""
    return policy is MissedPolicy.SKIP and now - due_at > timedelta(seconds=MISSED_AFTER_SECONDS)
