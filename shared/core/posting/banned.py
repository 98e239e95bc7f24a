"""Whom a list wants to hear nothing from."""

from __future__ import annotations

from shared.core.posting.patterns import matches
from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def banned(post: Post, terms: Terms) -> Verdict:
    """Refuses what a banned address wrote, or sent: whether it is really theirs is nothing that would help it."""
    if not terms.rules.banned:
        return Accept()
    addresses = {author.key for author in post.authors} | {post.envelope_sender.lower()}
    for pattern in terms.rules.banned:
        if any(_is(pattern, address) for address in addresses):
            return Refuse(f"the sender may not post to {terms.address}")
    return Accept()


def _is(pattern: str, address: str) -> bool:
    """`ann@example.org`, `*@example.org`; `@example.org` is the domain and all below it."""
    if pattern.startswith("@"):
        _, _, domain = address.rpartition("@")
        return domain == pattern[1:] or domain.endswith("." + pattern[1:])
    return matches(pattern, address)
