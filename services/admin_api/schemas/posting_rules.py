"""What is asked of posts to a list, as requests and answers say it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from services.admin_api.schemas.base import Answer, Body, OneLine, may_be_absent, refuse
from shared.core.held_post import MAX_BANNED
from shared.core.posting.post import Moderation, NonMemberAction

#: So that nobody takes a size in megabytes for one in bytes, and what a message may have at most anywhere.
MIN_POST_BYTES, MAX_POST_BYTES = 1024, 1024 * 1024 * 1024

PostBytes = Annotated[int, Field(ge=MIN_POST_BYTES, le=MAX_POST_BYTES)]
PostsADay = Annotated[int, Field(ge=1, le=1_000_000)]


def _lowered(text: str) -> str:
    if not text.strip("*"):
        raise refuse("This would be everybody, or everything.")
    return text.lower()


Pattern = Annotated[
    OneLine, StringConstraints(min_length=1, max_length=254, strip_whitespace=True), AfterValidator(_lowered)
]
Banned = Annotated[list[Pattern], Field(max_length=MAX_BANNED)]
Patterns = Annotated[list[Pattern], Field(max_length=100)]


class NewPostingRules(Body):
    """What is asked of posts, with the defaults."""

    non_member_action: NonMemberAction = NonMemberAction.REFUSE
    """What becomes of a stranger's post to a list whose policy is members: refuse, in the session; hold, for the
    moderators; or discard. A stranger is also who cannot be shown, by SPF or DKIM, to be the member in From."""
    moderation: Moderation = Moderation.FLAGGED
    """Whose posts are held for the moderators: flagged, those of members with `is_moderated`; everybody, all but the
    moderators' and owners' own."""
    emergency: bool = False
    """Whether every post is held, the moderators' own too."""
    max_post_bytes: PostBytes | None = None
    """The largest post, in bytes: 1,024 to 1,073,741,824; null or absent is what the server takes
    (`LISTFLEET_MAX_MESSAGE_BYTES`). Larger ones are refused."""
    banned: Banned = Field(default_factory=list)
    """Whose posts are refused: addresses, with `*` for any characters (`*@example.org`), or `@example.org` for a domain
    and all below it. It is compared with From and with the envelope's sender. At most 1,000, each of at most 254
    characters."""
    requires_explicit_destination: bool = False
    """Whether a post is held whose To and Cc name neither the list nor one of `other_addresses`."""
    other_addresses: Patterns = Field(default_factory=list)
    """Other addresses by which people write to the list, with `*` for any characters; at most 100."""
    refuses_commands: bool = True
    """Whether a post is refused that says nothing but a command (join, leave, set, confirm): those go to
    LIST-request."""
    refused_attachments: Patterns = Field(default_factory=list)
    """Attachments for which a post is refused: content types (`application/zip`, `image/*`) and file names (`*.exe`);
    at most 100. With any, a post is refused too that has more parts than can be looked at."""
    max_posts_a_day: PostsADay | None = None
    """Posts that the list takes within 24 hours, 1 to 1,000,000; further ones are held. Null or absent is unlimited.
    Moderators' posts count, and are never held for it."""
    max_posts_a_day_per_author: PostsADay | None = None
    """Posts of one author that the list takes within 24 hours, 1 to 1,000,000; further ones are refused. Null or
    absent is unlimited."""
    one_copy_across_lists: bool = True
    """Whether a member gets one copy of a post that went to several lists, all of which say so."""
    tells_held_authors: bool = True
    """Whether the author of a held post is told, at most once a day, and only when SPF or DKIM shows who it is."""


class PostingRulesChange(Body):
    """What to change of them; in force from the next post on."""

    non_member_action: NonMemberAction = may_be_absent()
    """What becomes of a stranger's post to a list for its members: refuse, hold or discard."""
    moderation: Moderation = may_be_absent()
    """Whose posts are held: flagged members' only, or everybody's but the moderators'."""
    emergency: bool = may_be_absent()
    """Whether every post is held, the moderators' own too."""
    max_post_bytes: PostBytes | None = may_be_absent()
    """The largest post, in bytes: 1,024 to 1,073,741,824; null is what the server takes."""
    banned: Banned = may_be_absent()
    """All banned addresses and patterns from now on, at most 1,000."""
    requires_explicit_destination: bool = may_be_absent()
    """Whether a post is held whose To and Cc do not name the list."""
    other_addresses: Patterns = may_be_absent()
    """All other addresses of the list from now on, at most 100."""
    refuses_commands: bool = may_be_absent()
    """Whether a post is refused that says nothing but a command."""
    refused_attachments: Patterns = may_be_absent()
    """All content types and file names that are refused from now on, at most 100."""
    max_posts_a_day: PostsADay | None = may_be_absent()
    """Posts that the list takes within 24 hours before further ones are held; null is unlimited."""
    max_posts_a_day_per_author: PostsADay | None = may_be_absent()
    """Posts of one author that the list takes within 24 hours; null is unlimited."""
    one_copy_across_lists: bool = may_be_absent()
    """Whether a member gets one copy of a post that went to several lists; of mailings made from now on."""
    tells_held_authors: bool = may_be_absent()
    """Whether the author of a held post is told."""


class PostingRulesAnswer(Answer):
    """What is asked of posts."""

    non_member_action: NonMemberAction
    """What becomes of a stranger's post to a list for its members: refuse, hold or discard."""
    moderation: Moderation
    """Whose posts are held for the moderators: flagged, or everybody."""
    emergency: bool
    """Whether every post is held."""
    max_post_bytes: int | None
    """The largest post, in bytes; null is what the server takes."""
    banned: list[str]
    """Whose posts are refused."""
    requires_explicit_destination: bool
    """Whether a post is held whose To and Cc do not name the list."""
    other_addresses: list[str]
    """Other addresses by which people write to the list."""
    refuses_commands: bool
    """Whether a post is refused that says nothing but a command."""
    refused_attachments: list[str]
    """Content types and file names for which a post is refused."""
    max_posts_a_day: int | None
    """Posts within 24 hours above which further ones are held; null is unlimited."""
    max_posts_a_day_per_author: int | None
    """Posts of one author within 24 hours above which further ones are refused; null is unlimited."""
    one_copy_across_lists: bool
    """Whether a member gets one copy of a post that went to several lists."""
    tells_held_authors: bool
    """Whether the author of a held post is told."""
