"""A post is no larger than the list allows."""

from __future__ import annotations

from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def size(post: Post, terms: Terms) -> Verdict:
    """Refuses what is too large."""
    if post.size_bytes > terms.max_message_bytes:
        return Refuse(f"the message has {post.size_bytes} bytes, the limit is {terms.max_message_bytes}", "5.3.4")
    return Accept()
