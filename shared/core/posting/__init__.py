"""The rules a post must pass, one a file, in the order they are asked; the first refusal counts."""

from __future__ import annotations

from shared.core.posting.announcement import announcement
from shared.core.posting.authors import authors
from shared.core.posting.automatic import automatic
from shared.core.posting.lines import lines
from shared.core.posting.loop import loop
from shared.core.posting.membership import membership
from shared.core.posting.post import Accept, Post, Refuse, Terms, Verdict
from shared.core.posting.size import size

RULES = (
    loop,
    automatic,
    size,
    lines,
    authors,
    membership,
    announcement,
)


def judge(post: Post, terms: Terms) -> Verdict:
    """What becomes of `post` on the list whose terms are given."""
    for rule in RULES:
        verdict = rule(post, terms)
        if isinstance(verdict, Refuse):
            return verdict
    return Accept()
