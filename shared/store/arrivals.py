"""What is asked for every message that comes in, before it is stored: of its lists, and of its authors as members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.core.membership import MemberRole, PostingPolicy
from shared.core.posting.post import ListRules, Moderation, NonMemberAction
from shared.store.engine import RawConnection


@dataclass(frozen=True, slots=True)
class KnownList:
    """What the posting rules need to know of a list."""

    id: int
    #: Local part and domain, lower-case, the domain in A-labels.
    name: str
    domain: str
    policy: PostingPolicy
    rules: ListRules = field(default_factory=ListRules)


@dataclass(frozen=True, slots=True)
class KnownAuthor:
    """An author who is a member."""

    role: MemberRole
    is_moderated: bool = False


async def find_list(connection: RawConnection, name: str, domain: str) -> KnownList | None:
    """The list of this posting address, both parts as they are kept; `None` when there is none."""
    row = await connection.fetchrow(
        """
        SELECT id, posting_policy, non_member_action, moderation, emergency, max_post_bytes, banned,
               requires_explicit_destination, other_addresses, refuses_commands, refused_attachments, max_posts_a_day,
               max_posts_a_day_per_author
        FROM mailing_lists WHERE domain = $1 AND name = $2
        """,
        domain,
        name,
    )
    if row is None:
        return None
    rules = ListRules(
        non_member_action=NonMemberAction(row["non_member_action"]),
        moderation=Moderation(row["moderation"]),
        emergency=row["emergency"],
        max_post_bytes=row["max_post_bytes"],
        banned=tuple(row["banned"]),
        requires_explicit_destination=row["requires_explicit_destination"],
        other_addresses=tuple(row["other_addresses"]),
        refuses_commands=row["refuses_commands"],
        refused_attachments=tuple(row["refused_attachments"]),
        max_posts_a_day=row["max_posts_a_day"],
        max_posts_a_day_per_author=row["max_posts_a_day_per_author"],
    )
    return KnownList(row["id"], name, domain, PostingPolicy(row["posting_policy"]), rules)


async def known_authors(connection: RawConnection, list_id: int, email_keys: Sequence[str]) -> Sequence[KnownAuthor]:
    """Those of the addresses that are members, each once; who unsubscribed is none."""
    rows = await connection.fetch(
        """
        SELECT role, is_moderated FROM members
        WHERE list_id = $1 AND email_key = ANY($2) AND status <> 'unsubscribed'
        """,
        list_id,
        email_keys,
    )
    return [KnownAuthor(MemberRole(row["role"]), row["is_moderated"]) for row in rows]
