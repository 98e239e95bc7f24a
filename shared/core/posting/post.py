"""What the posting rules look at, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from shared.core.address import Address
from shared.core.membership import PostingPolicy


class NonMemberAction(StrEnum):
    """What becomes of a stranger's post to a list for its members."""

    #: The author is told in the session.
    REFUSE = "refuse"
    #: The moderators decide.
    HOLD = "hold"
    #: Nobody hears of it.
    DISCARD = "discard"


class Moderation(StrEnum):
    """Whose posts the moderators see before the members do."""

    #: Those of members with `is_moderated`.
    FLAGGED = "flagged"
    #: Everybody's but the moderators'.
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part of a message that is not its text."""

    #: `type/subtype`, lower-case.
    content_type: str
    #: Lower-case; empty when the part names none.
    filename: str


@dataclass(frozen=True, slots=True)
class Post:
    """The facts of one message, from its envelope and its content."""

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
    #: The keys of the addresses in To and Cc.
    destinations: frozenset[str] = frozenset()
    #: The command that is all the message says; empty when it says more.
    command: str = ""
    attachments: tuple[Attachment, ...] = ()
    #: There are more parts, or deeper ones, than were looked at.
    has_hidden_parts: bool = False

    @property
    def came_through_a_list(self) -> bool:
        """Whether it bears a list's marks."""
        return bool(self.list_ids or self.list_posts or self.loop_marks)


@dataclass(frozen=True, slots=True)
class ListRules:
    """What is set for a list about posts to it."""

    non_member_action: NonMemberAction = NonMemberAction.REFUSE
    moderation: Moderation = Moderation.FLAGGED
    #: Everything is held, the moderators' own posts too.
    emergency: bool = False
    #: `None` is as large as the server takes.
    max_post_bytes: int | None = None
    #: Addresses and patterns.
    banned: tuple[str, ...] = ()
    #: The list's address stands in To or Cc, or one of these does.
    requires_explicit_destination: bool = False
    other_addresses: tuple[str, ...] = ()
    #: What is nothing but a command is no post.
    refuses_commands: bool = True
    #: Content types and file names, as patterns.
    refused_attachments: tuple[str, ...] = ()
    #: In 24 hours; `None` is unlimited.
    max_posts_a_day: int | None = None
    max_posts_a_day_per_author: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What those who wrote a post are to the list."""

    #: Every author is a member.
    is_member: bool = False
    #: Every author is a moderator or an owner.
    is_moderator: bool = False
    #: Some author is a member whose posts the moderators want to see.
    is_moderated: bool = False
    #: Posts of these authors that the list took within 24 hours.
    posts_today: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """One list's terms, and the authors' standing in it."""

    #: The posting address, lower-case, its domain in A-labels.
    address: str
    #: The list's identifier (RFC 2919), lower-case, without angle brackets.
    list_id: str
    policy: PostingPolicy
    #: What the server takes.
    max_message_bytes: int
    rules: ListRules = ListRules()
    standing: Standing = Standing()
    #: Posts that the list took within 24 hours.
    posts_today: int = 0

    def for_standing(self, standing: Standing) -> Terms:
        """The terms for others than these authors."""
        return replace(self, standing=standing)


@dataclass(frozen=True, slots=True)
class Accept:
    """The post may go to the members."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The moderators decide."""

    #: Clauses for the moderators, without a full stop.
    because: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The post may not; the author is told in the session."""

    #: A clause for the reply and for the operator, without a full stop.
    because: str
    #: RFC 3463.
    enhanced_status: str = "5.7.1"


@dataclass(frozen=True, slots=True)
class Discard:
    """The post may not, and the author is not told."""

    #: A clause for the operator, without a full stop.
    because: str


Verdict = Accept | Hold | Refuse | Discard
