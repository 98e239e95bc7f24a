"""To an announcement list, moderators and owners post."""

from __future__ import annotations

from shared.core.membership import PostingPolicy
from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def announcement(post: Post, terms: Terms) -> Verdict:
    """Refuses everybody else where only announcements are made."""
    del post
    if terms.policy is PostingPolicy.ANNOUNCEMENT and not terms.is_from_moderators:
        return Refuse(f"only moderators may post to {terms.address}")
    return Accept()
