"""A command that went to the members' address by mistake is not for the members."""

from __future__ import annotations

from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def administrivia(post: Post, terms: Terms) -> Verdict:
    """Refuses what says nothing but one command, and says where commands go."""
    if not terms.rules.refuses_commands or not post.command:
        return Accept()
    name, _, domain = terms.address.rpartition("@")
    return Refuse(f"this is a command ({post.command}) and no post, please send it to {name}-request@{domain}")
