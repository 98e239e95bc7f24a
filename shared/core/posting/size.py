"""A post is no larger than the list allows."""

from __future__ import annotations

from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def size(post: Post, terms: Terms) -> Verdict:
    """Refuses what is too large."""
    limit = terms.max_message_bytes
    if terms.rules.max_post_bytes is not None:
        limit = min(limit, terms.rules.max_post_bytes)
    if post.size_bytes > limit:
        return Refuse(f"the message has {post.size_bytes} bytes, the limit is {limit}", "5.3.4")
    return Accept()
