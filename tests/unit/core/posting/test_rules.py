from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shared.core.address import Address
from shared.core.membership import PostingPolicy
from shared.core.posting import judge
from shared.core.posting.post import Accept, ListRules, Post, Refuse, Standing, Terms, Verdict

POST = Post(
    envelope_sender="ann@example.org",
    from_fields=1,
    authors=(Address.parse("ann@example.org"),),
    unreadable_authors=0,
    repeated_fields=(),
    list_ids=(),
    list_posts=(),
    loop_marks=(),
    received_count=3,
    auto_submitted="",
    precedence="",
    size_bytes=1000,
    has_overlong_line=False,
)
TERMS = Terms(
    address="dev@lists.test",
    list_id="dev.lists.test",
    policy=PostingPolicy.MEMBERS,
    max_message_bytes=10_000,
    standing=Standing(is_member=True),
)


def verdict(policy: PostingPolicy = PostingPolicy.MEMBERS, **facts: Any) -> Verdict:
    """Of `POST` on `TERMS`, with these facts of the post, the list's rules, the authors' standing, or the terms."""
    post, rules, standing, terms = POST, ListRules(), TERMS.standing, TERMS
    for name, value in facts.items():
        if hasattr(rules, name):
            rules = dataclasses.replace(rules, **{name: value})
        elif hasattr(standing, name):
            standing = dataclasses.replace(standing, **{name: value})
        elif hasattr(post, name):
            post = dataclasses.replace(post, **{name: value})
        else:
            terms = dataclasses.replace(terms, **{name: value})
    return judge(post, dataclasses.replace(terms, policy=policy, rules=rules, standing=standing))


def test_a_members_post_is_accepted() -> None:
    assert verdict() == Accept()


@pytest.mark.parametrize(
    ("facts", "status", "words"),
    [
        ({"list_ids": ("dev <dev.lists.test>",)}, "5.7.1", "already"),
        ({"list_posts": ("<mailto:dev@lists.test>",)}, "5.7.1", "already"),
        ({"loop_marks": ("dev@lists.test",)}, "5.7.1", "already"),
        ({"received_count": 51}, "5.7.1", "50 servers"),
        ({"envelope_sender": ""}, "5.7.1", "null sender"),
        ({"auto_submitted": "auto-replied"}, "5.7.1", "automatic answer"),
        ({"auto_submitted": "auto-notified"}, "5.7.1", "automatic"),
        ({"precedence": "bulk"}, "5.7.1", "bulk"),
        ({"precedence": "junk"}, "5.7.1", "junk"),
        ({"precedence": "auto_reply"}, "5.7.1", "auto_reply"),
        ({"size_bytes": 10_001}, "5.3.4", "10001 bytes"),
        ({"has_overlong_line": True}, "5.6.0", "998"),
        ({"from_fields": 0, "authors": ()}, "5.6.0", "no From"),
        ({"from_fields": 2}, "5.6.0", "2 From"),
        ({"authors": ()}, "5.6.0", "From field"),
        ({"unreadable_authors": 1}, "5.6.0", "From field"),
        ({"repeated_fields": ("subject",)}, "5.6.0", "subject"),
        ({"is_member": False}, "5.7.1", "only members may post to dev@lists.test"),
    ],
)
def test_a_post_is_refused_with_the_reason(facts: dict[str, Any], status: str, words: str) -> None:
    answer = verdict(**facts)
    assert isinstance(answer, Refuse)
    assert answer.enhanced_status == status
    assert words in answer.because


@pytest.mark.parametrize(
    "facts",
    [
        {"list_ids": ("<other.lists.test>",)},
        {"list_ids": ("<not-dev.lists.test>",)},
        {"list_posts": ("no",)},
        {"loop_marks": ("other@lists.test",)},
        {"received_count": 50},
        {"auto_submitted": "no"},
        {"auto_submitted": "auto-generated"},
        {"precedence": "list"},
        {"size_bytes": 10_000},
    ],
)
def test_what_only_looks_like_it_is_accepted(facts: dict[str, Any]) -> None:
    assert verdict(**facts) == Accept()


def test_anyone_may_post_where_anyone_may() -> None:
    assert verdict(PostingPolicy.ANYONE, is_member=False) == Accept()


def test_announcements_are_made_by_moderators() -> None:
    assert verdict(PostingPolicy.ANNOUNCEMENT, is_moderator=True) == Accept()
    answer = verdict(PostingPolicy.ANNOUNCEMENT)
    assert isinstance(answer, Refuse)
    assert "only moderators" in answer.because
