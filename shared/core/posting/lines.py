"""A post can be passed on as it is."""

from __future__ import annotations

from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def lines(post: Post, terms: Terms) -> Verdict:
    """Refuses a line that servers on the way to members would refuse, or break and every signature with it."""
    del terms
    if post.has_overlong_line:
        return Refuse("a line has more than 998 octets (RFC 5321 section 4.5.3.1.6)", "5.6.0")
    return Accept()
