"""A post that has been on this list before is not sent to it again."""

from __future__ import annotations

from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict

#: RFC 5321 §6.3 asks for a limit of at least 100 where Received fields are all there is to see a loop by; we see
#: loops through this list by its own marks, and 50 hops are far beyond any real way.
MAX_RECEIVED_FIELDS = 50


def loop(post: Post, terms: Terms) -> Verdict:
    """Refuses what bears this list's own marks, and what went through too many servers."""
    if post.received_count > MAX_RECEIVED_FIELDS:
        return Refuse(f"the message has gone through more than {MAX_RECEIVED_FIELDS} servers")
    was_here = (
        any(f"<{terms.list_id}>" in list_id for list_id in post.list_ids)
        or any(f"<mailto:{terms.address}>" in list_post for list_post in post.list_posts)
        or terms.address in post.loop_marks
    )
    if was_here:
        return Refuse(f"the message has been on {terms.address} already")
    return Accept()
