"""What is asked for every message that comes in, before it is stored: of its lists, and of its authors as members."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from shared.core.membership import MemberRole, PostingPolicy
from shared.core.posting.post import ListRules, Moderation, NonMemberAction
from shared.store.engine import RawConnection, Record


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


async def find_lists(
    connection: RawConnection, addresses: Collection[tuple[str, str]]
) -> Mapping[tuple[str, str], KnownList]:
    """The lists of these posting addresses, by name and domain as they are kept; those that there are."""
    rows = await connection.fetch(
        """
        SELECT asked.*, list.*
        FROM unnest($1::text[], $2::text[]) AS asked (name, domain), LATERAL (
            SELECT id, posting_policy, non_member_action, moderation, emergency, max_post_bytes, banned,
                   requires_explicit_destination, other_addresses, refuses_commands, refused_attachments,
                   max_posts_a_day, max_posts_a_day_per_author
            FROM mailing_lists WHERE domain = asked.domain AND name = asked.name LIMIT 1
        ) list
        """,
        [name for name, _ in addresses],
        [domain for _, domain in addresses],
    )
    return {(row["name"], row["domain"]): _known_list(row) for row in rows}


def _known_list(row: Record) -> KnownList:
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
    return KnownList(row["id"], row["name"], row["domain"], PostingPolicy(row["posting_policy"]), rules)


async def known_authors(
    connection: RawConnection, asked: Sequence[tuple[int, Sequence[str]]]
) -> Sequence[Sequence[KnownAuthor]]:
    """For each list and its addresses, in order: those that are members, each once; who unsubscribed is none."""
    known: list[list[KnownAuthor]] = [[] for _ in asked]
    flat = [(number, list_id, key) for number, (list_id, keys) in enumerate(asked) for key in keys]
    rows = await connection.fetch(
        """
        SELECT number, role, is_moderated
        FROM unnest($1::int[], $2::bigint[], $3::text[]) AS asked (number, list_id, email_key), LATERAL (
            SELECT role, is_moderated FROM members
            WHERE list_id = asked.list_id AND email_key = asked.email_key AND status <> 'unsubscribed' LIMIT 1
        ) member
        """,
        [number for number, _, _ in flat],
        [list_id for _, list_id, _ in flat],
        [key for _, _, key in flat],
    )
    for row in rows:
        known[row["number"]].append(KnownAuthor(MemberRole(row["role"]), row["is_moderated"]))
    return known
