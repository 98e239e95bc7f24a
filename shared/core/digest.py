"""Digests: the posts of a list collected into issues, for members who want few mails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

#: An issue holds no more, so that members' servers take it and a scheduler has room for it; a post that is larger is an
#: issue by itself.
MAX_ISSUE_BYTES = 10_000_000
MAX_ISSUE_POSTS = 200
#: What a list collects at most before it sends, unless something else is set.
DEFAULT_SIZE_BYTES = 1_000_000


class DigestFormat(StrEnum):
    """What a member's digests look like."""

    #: Each post whole, as a message of its own (RFC 2046 §5.1.5).
    MIME = "mime"
    #: One text (RFC 1153).
    PLAIN = "plain"


class DigestState(StrEnum):
    """Where a digest stands: collecting → closed → made."""

    #: The list's next one: posts join it. A list has one such at most.
    COLLECTING = "collecting"
    #: It has its number, and no post joins it any more.
    CLOSED = "closed"
    #: Its mailings are made, or nobody is left to read it.
    MADE = "made"


@dataclass(frozen=True, slots=True)
class IssueNumber:
    """A volume is a calendar year in which the list had digests (RFC 1153); its issues are counted from 1."""

    volume: int
    issue: int


def number_after(last: IssueNumber | None, last_at: datetime | None, now: datetime) -> IssueNumber:
    """The number of an issue that is closed now, the last one having been closed at `last_at`; years are UTC's."""
    if last is None or last_at is None:
        return IssueNumber(1, 1)
    if last_at.astimezone(UTC).year < now.astimezone(UTC).year:
        return IssueNumber(last.volume + 1, 1)
    return IssueNumber(last.volume, last.issue + 1)


def is_full(posts: int, size_bytes: int, next_post_bytes: int) -> bool:
    """Whether an issue with so many posts has no room for the next one; an empty one always has."""
    return posts > 0 and (posts >= MAX_ISSUE_POSTS or size_bytes + next_post_bytes > MAX_ISSUE_BYTES)
