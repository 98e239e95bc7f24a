"""To an announcement list, moderators and owners post."""

from __future__ import annotations

from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def announcement(post: Post, terms: Terms) -> Verdict:
    """Refuses everybody else."""
    del post
    if terms.standing.is_moderator:
        return Accept()
    return Refuse(f"only moderators may post to {terms.address}")
