"""A post names the list it is for: mail by blind copy is mostly advertising."""

from __future__ import annotations

from shared.core.posting.patterns import matches
from shared.core.posting.post import Accept, Hold, Post, Terms, Verdict


def destination(post: Post, terms: Terms) -> Verdict:
    """Holds a post whose To and Cc do not name the list, where the list wants that."""
    if not terms.rules.requires_explicit_destination or terms.address in post.destinations:
        return Accept()
    others = terms.rules.other_addresses
    if any(matches(pattern, address) for pattern in others for address in post.destinations):
        return Accept()
    return Hold("neither To nor Cc names the list")
