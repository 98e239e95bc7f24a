"""To a list for its members, members post."""

from __future__ import annotations

from shared.core.membership import PostingPolicy
from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def membership(post: Post, terms: Terms) -> Verdict:
    """Refuses authors who are not members where only members may post."""
    del post
    if terms.policy is PostingPolicy.MEMBERS and not terms.is_from_members:
        return Refuse(f"only members may post to {terms.address}")
    return Accept()
