"""The rules a post must pass, one a file, in the order they are asked.

The first that refuses or discards counts. What one would have the moderators decide may still be refused by a later
one; so a held post is one that nothing else is wrong with, and its reason names all that they were asked for.

A post that comes twice is found where its mailing is made, in one transaction, for two may come at the same moment
(`shared/core/posting/duplicate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.core.membership import PostingPolicy
from shared.core.posting.administrivia import administrivia
from shared.core.posting.announcement import announcement
from shared.core.posting.attachments import attachments
from shared.core.posting.authors import authors
from shared.core.posting.automatic import automatic
from shared.core.posting.banned import banned
from shared.core.posting.destination import destination
from shared.core.posting.emergency import emergency
from shared.core.posting.lines import lines
from shared.core.posting.loop import loop
from shared.core.posting.moderated_list import moderated_list
from shared.core.posting.moderated_member import moderated_member
from shared.core.posting.non_member import non_member
from shared.core.posting.post import Accept, Discard, Hold, Post, Refuse, Terms, Verdict
from shared.core.posting.posts_a_day import posts_a_day
from shared.core.posting.size import size

Rule = Callable[[Post, Terms], Verdict]

_OF_EVERY_LIST: tuple[Rule, ...] = (
    loop,
    automatic,
    authors,
    lines,
    banned,
    destination,
    size,
    administrivia,
    attachments,
    posts_a_day,
)
_MODERATION: tuple[Rule, ...] = (
    moderated_member,
    moderated_list,
    emergency,
)

#: By who may post.
RULES: Mapping[PostingPolicy, tuple[Rule, ...]] = {
    PostingPolicy.ANYONE: (*_OF_EVERY_LIST, *_MODERATION),
    PostingPolicy.MEMBERS: (*_OF_EVERY_LIST, non_member, *_MODERATION),
    PostingPolicy.ANNOUNCEMENT: (*_OF_EVERY_LIST, announcement, *_MODERATION),
}


def judge(post: Post, terms: Terms) -> Verdict:
    """What becomes of `post` on the list whose terms are given."""
    reasons: list[str] = []
    for rule in RULES[terms.policy]:
        verdict = rule(post, terms)
        if isinstance(verdict, Refuse | Discard):
            return verdict
        if isinstance(verdict, Hold):
            reasons.append(verdict.because)
    return Hold("; ".join(reasons)) if reasons else Accept()
