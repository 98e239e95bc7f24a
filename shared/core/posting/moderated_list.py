"""To a moderated list, moderators alone post without being asked."""

from __future__ import annotations

from shared.core.posting.post import Accept, Hold, Moderation, Post, Terms, Verdict


def moderated_list(post: Post, terms: Terms) -> Verdict:
    """Holds everybody else's posts."""
    del post
    if terms.rules.moderation is not Moderation.EVERYBODY or terms.standing.is_moderator:
        return Accept()
    return Hold("the list is moderated")
