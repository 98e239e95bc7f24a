"""A list out of hand is stopped, and nothing is lost."""

from __future__ import annotations

from shared.core.posting.post import Accept, Hold, Post, Terms, Verdict


def emergency(post: Post, terms: Terms) -> Verdict:
    """Holds everything, the moderators' posts too."""
    del post
    return Hold("the list is stopped for an emergency") if terms.rules.emergency else Accept()
