"""To a list for its members, members post."""

from __future__ import annotations

from shared.core.posting.post import Accept, Discard, Hold, NonMemberAction, Post, Refuse, Terms, Verdict


def non_member(post: Post, terms: Terms) -> Verdict:
    """Keeps strangers' posts from the members, in the way that the list has it."""
    del post
    if terms.standing.is_member:
        return Accept()
    if terms.rules.non_member_action is NonMemberAction.HOLD:
        return Hold("the author is not known as a member")
    if terms.rules.non_member_action is NonMemberAction.DISCARD:
        return Discard("the author is not known as a member")
    return Refuse(f"only members may post to {terms.address}")
