"""A list takes so many posts a day, and so many of one author."""

from __future__ import annotations

from shared.core.posting.post import Accept, Hold, Post, Refuse, Terms, Verdict


def posts_a_day(post: Post, terms: Terms) -> Verdict:
    """Refuses what an author wrote too much; holds what is too much for the list, which no author could know of."""
    del post
    rules, standing = terms.rules, terms.standing
    if standing.is_moderator:
        return Accept()
    of_an_author = rules.max_posts_a_day_per_author
    if of_an_author is not None and standing.posts_today >= of_an_author:
        return Refuse(f"{terms.address} takes {of_an_author} posts of an author in 24 hours")
    if rules.max_posts_a_day is not None and terms.posts_today >= rules.max_posts_a_day:
        return Hold(f"the list has had {rules.max_posts_a_day} posts in 24 hours")
    return Accept()
