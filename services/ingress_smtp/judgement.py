"""What the posting rules say of a message at each of its recipients: as its authors' own, and as anybody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.ingress_smtp.examination import Examined
from services.ingress_smtp.routing import Route
from shared.core.authorship import Belief
from shared.core.mailing import TargetState
from shared.core.membership import MemberRole
from shared.core.posting import judge
from shared.core.posting.post import Accept, Discard, Hold, Refuse, Standing, Terms, Verdict
from shared.store.arrivals import KnownAuthor, KnownList
from shared.store.messages import NewTarget
from shared.store.posts import PostsToday

_MODERATORS = frozenset({MemberRole.MODERATOR, MemberRole.OWNER})
_DISOWNED = "Not obeyed: its author's domain asks that such mail be set aside (DMARC)."
_NO_POSTS = PostsToday(0, 0, 0)


class Records(Protocol):
    """What judging needs of the store. Both methods raise `StoreUnavailable`."""

    async def known_authors(self, list_id: int, email_keys: Sequence[str]) -> Sequence[KnownAuthor]:
        """Those of the addresses that are members, each once."""

    async def posts_today(self, list_id: int, author_key: str) -> PostsToday:
        """What the list took within 24 hours."""


@dataclass(frozen=True, slots=True)
class Case:
    """One recipient's."""

    route: Route
    as_author: Verdict
    as_stranger: Verdict
    #: It is asked who the author is for more than the verdict.
    counts_authors: bool = False

    @property
    def depends_on_author(self) -> bool:
        """Whether it makes a difference who wrote it."""
        return self.as_author != self.as_stranger

    @property
    def wants_author(self) -> bool:
        """Whether it is worth asking: a held post's author may be written to."""
        return self.depends_on_author or self.counts_authors or isinstance(self.as_author, Hold)

    def verdict(self, belief: Belief) -> Verdict:
        """What becomes of it."""
        return self.as_author if belief is Belief.PROVEN else self.as_stranger

    def target(self, examined: Examined, belief: Belief) -> NewTarget:
        """What is stored of it."""
        list_id = self.route.posted_to.id if self.route.posted_to else self.route.list_id
        if self.route.posted_to is None and not self.route.speaks_for_author:
            return NewTarget(self.route.address, self.route.kind, list_id)
        if self.route.speaks_for_author and belief is Belief.DISOWNED:
            return NewTarget(self.route.address, self.route.kind, list_id, TargetState.KEPT, _DISOWNED)
        state, because = _outcome(self.verdict(belief))
        is_proven = belief is Belief.PROVEN
        author = examined.post.authors[0] if examined.post.authors else None
        return NewTarget(
            self.route.address,
            self.route.kind,
            list_id,
            state,
            because,
            author=author.spelling if author else "",
            author_key=("" if is_proven else "?") + author.key if author else "",
            is_author_proven=is_proven,
        )


def _outcome(verdict: Verdict) -> tuple[TargetState, str]:
    if isinstance(verdict, Hold):
        return TargetState.HELD, verdict.because
    if isinstance(verdict, Refuse):
        return TargetState.REFUSED, verdict.because
    if isinstance(verdict, Discard):
        return TargetState.DISCARDED, verdict.because
    return TargetState.RECEIVED, ""


async def case_of(route: Route, examined: Examined, records: Records, max_message_bytes: int) -> Case:
    """The case of one recipient; what is no post is accepted."""
    posted_to = route.posted_to
    if posted_to is None:
        return Case(route, Accept(), Accept(), route.speaks_for_author)
    keys = sorted({author.key for author in examined.post.authors})
    rules = posted_to.rules
    counts_authors = rules.max_posts_a_day_per_author is not None
    posts = _NO_POSTS
    if keys and (counts_authors or rules.max_posts_a_day is not None):
        posts = await records.posts_today(posted_to.id, examined.post.authors[0].key)
    terms = Terms(
        address=f"{posted_to.name}@{posted_to.domain}",
        list_id=f"{posted_to.name}.{posted_to.domain}",
        policy=posted_to.policy,
        max_message_bytes=max_message_bytes,
        rules=rules,
        posts_today=posts.of_list,
    )
    stranger = Standing(posts_today=posts.of_stranger)
    as_stranger = judge(examined.post, terms.for_standing(stranger))
    author = await _standing(posted_to, keys, records, posts)
    as_author = judge(examined.post, terms.for_standing(author)) if author != stranger else as_stranger
    return Case(route, as_author, as_stranger, counts_authors)


async def _standing(posted_to: KnownList, keys: Sequence[str], records: Records, posts: PostsToday) -> Standing:
    """What the authors are to the list, if it is them."""
    known = await records.known_authors(posted_to.id, keys) if keys else ()
    is_member = bool(keys) and len(known) == len(keys)
    return Standing(
        is_member=is_member,
        is_moderator=is_member and all(author.role in _MODERATORS for author in known),
        is_moderated=any(author.is_moderated for author in known),
        posts_today=posts.of_author,
    )
