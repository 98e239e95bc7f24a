"""What the posting rules look at, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass

from shared.core.address import Address
from shared.core.membership import PostingPolicy


@dataclass(frozen=True, slots=True)
class Post:
    """The facts of one message, from its envelope and its header."""

    #: The reverse-path; empty for the null sender.
    envelope_sender: str
    #: How many From fields there are, and the mailboxes of the first.
    from_fields: int
    authors: tuple[Address, ...]
    #: Mailboxes of that field that are no address to rely on.
    unreadable_authors: int
    #: Fields that may stand once (RFC 5322 §3.6) and stand more than once, lower-case.
    repeated_fields: tuple[str, ...]
    #: The values of the List-Id, List-Post and X-Loop fields, lower-case.
    list_ids: tuple[str, ...]
    list_posts: tuple[str, ...]
    loop_marks: tuple[str, ...]
    received_count: int
    #: The keywords of the first Auto-Submitted and Precedence, lower-case; empty when there is none.
    auto_submitted: str
    precedence: str
    size_bytes: int
    #: A line is longer than RFC 5321 §4.5.3.1.6 allows.
    has_overlong_line: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """One list's terms, and the authors' standing in it."""

    #: The posting address, lower-case, its domain in A-labels.
    address: str
    #: The list's identifier (RFC 2919), lower-case, without angle brackets.
    list_id: str
    policy: PostingPolicy
    max_message_bytes: int
    #: Every author is a member.
    is_from_members: bool
    #: Every author is a moderator or an owner.
    is_from_moderators: bool


@dataclass(frozen=True, slots=True)
class Accept:
    """The post may go to the members."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The post may not; the author is told in the session."""

    #: A clause for the reply and for the operator, without a full stop.
    because: str
    #: RFC 3463.
    enhanced_status: str = "5.7.1"


Verdict = Accept | Refuse
