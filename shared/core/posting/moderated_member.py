"""Some members' posts go to the moderators first."""

from __future__ import annotations

from shared.core.posting.post import Accept, Hold, Post, Terms, Verdict


def moderated_member(post: Post, terms: Terms) -> Verdict:
    """Holds what a member wrote who is marked so."""
    del post
    return Hold("the author's posts are moderated") if terms.standing.is_moderated else Accept()
