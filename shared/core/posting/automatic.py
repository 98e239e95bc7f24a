"""What a program answers by itself, a vacation notice above all, is not a post."""

from __future__ import annotations

from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict

#: `auto-generated` is a program that writes of itself, as a commit or a build does; it answers nobody (RFC 3834 §5).
_NO_ANSWERS = frozenset({"", "no", "auto-generated"})
#: `list` is not among them: one list may be a member of another.
_AUTOMATIC_PRECEDENCES = frozenset({"bulk", "junk", "auto_reply"})


def automatic(post: Post, terms: Terms) -> Verdict:
    """Refuses automatic answers by their marks: RFC 3834 §5, the null sender (RFC 5321 §4.5.5), Precedence."""
    del terms
    if not post.envelope_sender:
        return Refuse("a message with the null sender is a report, not a post")
    if post.auto_submitted not in _NO_ANSWERS:
        return Refuse("the message is an automatic answer (Auto-Submitted)")
    if post.precedence in _AUTOMATIC_PRECEDENCES:
        return Refuse(f"the message was sent automatically (Precedence: {post.precedence})")
    return Accept()
