"""A post says clearly whom it is from."""

from __future__ import annotations

from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def authors(post: Post, terms: Terms) -> Verdict:
    """Refuses what two programs could read as two different authors' words (RFC 5322 §3.6)."""
    del terms
    if post.from_fields != 1:
        return Refuse(f"the message has {post.from_fields or 'no'} From fields, it must have one", "5.6.0")
    if post.unreadable_authors or not post.authors:
        return Refuse("the From field is not a list of addresses", "5.6.0")
    if post.repeated_fields:
        return Refuse(f"the message has more than one {post.repeated_fields[0]} field", "5.6.0")
    return Accept()
