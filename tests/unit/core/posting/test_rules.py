from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from shared.core import posting
from shared.core.address import Address
from shared.core.membership import PostingPolicy
from shared.core.posting import RULES, judge
from shared.core.posting.duplicate import Earlier, duplicate
from shared.core.posting.post import (
    Accept,
    Attachment,
    Discard,
    Hold,
    ListRules,
    Moderation,
    NonMemberAction,
    Post,
    Refuse,
    Standing,
    Terms,
    Verdict,
)

ZIP, EXE = Attachment("application/zip", "a.zip"), Attachment("application/octet-stream", "b.exe")

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


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"is_member": False, "non_member_action": NonMemberAction.HOLD}, "not known as a member"),
        ({"requires_explicit_destination": True}, "neither To nor Cc"),
        ({"requires_explicit_destination": True, "destinations": frozenset({"other@lists.test"})}, "neither To nor Cc"),
        ({"max_posts_a_day": 5, "posts_today": 5}, "5 posts"),
        ({"is_moderated": True}, "moderated"),
        ({"moderation": Moderation.EVERYBODY}, "the list is moderated"),
        ({"emergency": True}, "emergency"),
        ({"emergency": True, "is_moderator": True}, "emergency"),
    ],
)
def test_a_post_is_held_with_the_reason(facts: dict[str, Any], words: str) -> None:
    if "posts_today" in facts:
        # Both the list's and the author's count have this name.
        terms = dataclasses.replace(TERMS, rules=ListRules(max_posts_a_day=5), posts_today=5)
        answer = judge(POST, terms)
    else:
        answer = verdict(**facts)
    assert isinstance(answer, Hold)
    assert words in answer.because


@pytest.mark.parametrize(
    ("facts", "status", "words"),
    [
        ({"banned": ("ann@example.org",)}, "5.7.1", "may not post"),
        ({"banned": ("*@example.org",)}, "5.7.1", "may not post"),
        ({"banned": ("@org",)}, "5.7.1", "may not post"),
        ({"banned": ("evil@*",), "envelope_sender": "evil@example.net"}, "5.7.1", "may not post"),
        ({"max_post_bytes": 999}, "5.3.4", "limit is 999"),
        ({"command": "leave"}, "5.7.1", "dev-request@lists.test"),
        ({"refused_attachments": ("*.exe",), "attachments": (ZIP, EXE)}, "5.7.1", "*.exe"),
        ({"refused_attachments": ("application/*",), "attachments": (ZIP,)}, "5.7.1", "application/*"),
        ({"refused_attachments": ("*.exe",), "has_hidden_parts": True}, "5.6.0", "too many parts"),
        ({"max_posts_a_day_per_author": 3, "posts_today": 3}, "5.7.1", "3 posts of an author"),
        ({"emergency": True, "is_member": False}, "5.7.1", "only members"),
    ],
)
def test_what_the_lists_rules_do_not_take_is_refused(facts: dict[str, Any], status: str, words: str) -> None:
    answer = verdict(**facts)
    assert isinstance(answer, Refuse)
    assert answer.enhanced_status == status
    assert words in answer.because


@pytest.mark.parametrize(
    "facts",
    [
        {"banned": ("ann@example.net", "@le.org", "*@*.example.org")},
        {"requires_explicit_destination": True, "destinations": frozenset({"dev@lists.test"})},
        {
            "requires_explicit_destination": True,
            "other_addresses": ("dev-*@lists.test",),
            "destinations": frozenset({"dev-old@lists.test"}),
        },
        {"max_post_bytes": 1000},
        {"max_post_bytes": 1_000_000_000},
        {"command": "leave", "refuses_commands": False},
        {"refused_attachments": ("*.exe",), "attachments": (ZIP,)},
        {"has_hidden_parts": True},
        {"max_posts_a_day_per_author": 3, "posts_today": 2},
        {"max_posts_a_day_per_author": 3, "posts_today": 9, "is_moderator": True},
        {"moderation": Moderation.EVERYBODY, "is_moderator": True},
    ],
)
def test_what_the_lists_rules_take_is_accepted(facts: dict[str, Any]) -> None:
    assert verdict(**facts) == Accept()


def test_a_strangers_post_may_be_discarded() -> None:
    answer = verdict(is_member=False, non_member_action=NonMemberAction.DISCARD)
    assert answer == Discard("the author is not known as a member")


def test_a_held_post_names_every_reason() -> None:
    answer = verdict(is_moderated=True, requires_explicit_destination=True)
    assert answer == Hold("neither To nor Cc names the list; the author's posts are moderated")


def test_what_is_refused_is_not_held_for_something_else() -> None:
    assert isinstance(verdict(requires_explicit_destination=True, size_bytes=10_001), Refuse)


#: What breaks each rule, in the order that every list's rules are asked in, and a word of the reason.
_BREAKS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"list_ids": ("<dev.lists.test>",)}, "already"),
    ({"auto_submitted": "auto-replied"}, "automatic"),
    ({"from_fields": 2}, "From"),
    ({"has_overlong_line": True}, "998"),
    ({"banned": ("ann@example.org",)}, "may not post to"),
    ({"size_bytes": 10_001}, "10001"),
    ({"command": "leave"}, "command"),
    ({"refused_attachments": ("*.exe",), "attachments": (EXE,)}, "attachment"),
    ({"max_posts_a_day_per_author": 3, "posts_today": 3}, "3 posts"),
)
_HOLDS: dict[str, Any] = {
    "requires_explicit_destination": True,
    "is_moderated": True,
    "moderation": Moderation.EVERYBODY,
    "emergency": True,
}


@pytest.mark.parametrize(
    ("policy", "last", "held_for"),
    [
        (PostingPolicy.ANYONE, None, ""),
        (PostingPolicy.MEMBERS, "only members", "the author is not known as a member; "),
        (PostingPolicy.ANNOUNCEMENT, "only moderators", ""),
    ],
)
def test_of_all_that_is_wrong_the_first_rule_of_the_lists_type_is_the_reason(
    policy: PostingPolicy, last: str | None, held_for: str
) -> None:
    for number, (_, word) in enumerate(_BREAKS):
        left = {name: value for facts, _ in _BREAKS[number:] for name, value in facts.items()}
        answer = verdict(policy, **_HOLDS, is_member=False, **left)
        assert isinstance(answer, Refuse)
        assert word in answer.because
    answer = verdict(policy, **_HOLDS, is_member=False)
    if last is not None:
        assert isinstance(answer, Refuse)
        assert last in answer.because
    if policy is PostingPolicy.ANNOUNCEMENT:
        return  # Whoever may post there is a moderator.
    held = verdict(policy, **_HOLDS, is_member=False, non_member_action=NonMemberAction.HOLD)
    moderation = "the author's posts are moderated; the list is moderated; the list is stopped for an emergency"
    assert held == Hold(f"neither To nor Cc names the list; {held_for}{moderation}")


def test_every_rule_stands_in_some_order() -> None:
    names = {path.stem for path in Path(posting.__file__).parent.glob("*.py")}
    asked = {rule.__name__ for rules in RULES.values() for rule in rules}
    assert names - asked == {"__init__", "post", "patterns", "duplicate"}


def test_a_post_that_came_before_is_discarded() -> None:
    first = UUID(int=1)
    assert duplicate(Earlier(None, None)) == Accept()
    assert duplicate(Earlier(first, None)) == Discard(f"The same as message {first}.")
    assert duplicate(Earlier(None, first)) == Discard(f"The same as message {first}.")
