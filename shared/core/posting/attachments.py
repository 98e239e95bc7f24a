"""What a list does not want to spread among its members."""

from __future__ import annotations

from shared.core.posting.patterns import matches
from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict


def attachments(post: Post, terms: Terms) -> Verdict:
    """Refuses a part whose content type (`application/zip`, `image/*`) or file name (`*.exe`) the list does not take.

    Where there is more than was looked at, nothing is known to be harmless.
    """
    patterns = terms.rules.refused_attachments
    if not patterns:
        return Accept()
    for attachment in post.attachments:
        for pattern in patterns:
            # A type has a slash, and no file name has.
            subject = attachment.content_type if "/" in pattern else attachment.filename
            if subject and matches(pattern, subject):
                return Refuse(f"{terms.address} takes no attachment like {pattern}", "5.7.1")
    if post.has_hidden_parts:
        return Refuse(f"the message has too many parts to be looked at by {terms.address}", "5.6.0")
    return Accept()
