"""A digest in MIME, read by the standard library: every post is in it as its author wrote it."""

from __future__ import annotations

import re
from email.message import EmailMessage

import pytest

from shared.core.copies import CopySettings
from shared.mail.digest.mime import compose_mime
from shared.mail.seven_bit import to_seven_bit
from shared.mail.template import ListHeaders
from tests.samples.odd_messages import ODD_MESSAGES
from tests.samples.posts import FIELDS, READABLE, SEALED, SMIME
from tests.unit.mail.digest.issues import copy, issue, parsed, text_in

POST = FIELDS + b"\r\nHello.\r\n"


def parts_of(content: bytes) -> tuple[str, list[EmailMessage], str]:
    """The text before, the posts, and the text behind."""
    message = parsed(content)
    assert message.get_content_type() == "multipart/mixed"
    before, digest, behind = message.iter_parts()
    assert digest.get_content_type() == "multipart/digest"
    posts = [post for part in digest.iter_parts() if isinstance(post := part.get_payload(0), EmailMessage)]
    return text_in(before), posts, text_in(behind)


def test_it_says_what_it_is_and_holds_the_posts_in_order() -> None:
    posts = [POST.replace(b"Hello", b"=?utf-8?q?Gr=C3=BC=C3=9Fe?="), POST.replace(b"Subject: Hello", b"Subject: Bye")]
    content = compose_mime(issue(header="Be kind.", footer="____\nFooter"), [copy(post) for post in posts])
    message = parsed(content)
    assert message["Subject"] == "Dev Digest, Vol 3, Issue 12"
    assert message["From"] == "Dev <dev-request@lists.test>"
    assert message["To"] == message["Reply-To"] == "dev@lists.test"
    before, found, behind = parts_of(content)
    assert [post["Subject"] for post in found] == ["Grüße", "Bye"]
    assert [post["From"] for post in found] == ["Ann <ann@example.org>"] * 2
    assert "Be kind." in before
    assert "Today's Topics:\n\n   1. Grüße (Ann)\n   2. Bye (Ann)" in before
    assert behind.splitlines() == ["____", "Footer", "", "End of Dev Digest, Vol 3, Issue 12"]


@pytest.mark.parametrize("name", [*READABLE, *SEALED])
def test_a_post_of_any_kind_is_in_it_to_the_byte(name: str) -> None:
    raw = copy({**READABLE, **SEALED}[name])
    content = compose_mime(issue(), [raw, raw])
    assert content.count(b"\r\n\r\n" + raw + b"\r\n--inner-") == 2
    assert len(parts_of(content)[1]) == 2


@pytest.mark.parametrize("name", ODD_MESSAGES)
def test_no_odd_message_breaks_it(name: str) -> None:
    content = compose_mime(issue(), [copy(ODD_MESSAGES[name]), copy(POST)])
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    boundary = re.search(rb'multipart/digest;\s+boundary="([^"]+)"', content)
    assert boundary is not None
    assert content.count(b"\r\n--" + boundary[1]) == 3, "two posts and the end"
    assert b"\r\n\r\n" + copy(POST) in content


def test_a_signature_holds_in_it() -> None:
    assert SMIME[SMIME.index(b"\r\n\r\n") :] in compose_mime(issue(), [copy(SMIME)])


def test_eight_bits_are_declared_all_the_way_and_can_be_made_seven() -> None:
    content = compose_mime(issue(), [copy(READABLE["UTF-8 in 8 bits"]), copy(POST)])
    message = parsed(content)
    digest = list(message.iter_parts())[1]
    first, second = digest.iter_parts()
    for part in (message, digest, first):
        assert part["Content-Transfer-Encoding"] == "8bit"
    assert second["Content-Transfer-Encoding"] is None
    seven = to_seven_bit(content)
    assert seven.isascii()
    assert parts_of(seven)[1][0].get_content().strip() == "Grüße"


def test_a_post_with_a_header_beyond_ascii_is_a_message_of_its_own_type() -> None:
    content = compose_mime(issue(), [copy(POST.replace(b"Ann <", "Änn <".encode()))])
    assert b"Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nReceived" in content


def test_a_boundary_stands_in_no_post() -> None:
    first = compose_mime(issue(), [copy(POST)])
    boundary = re.search(rb"inner-(\w{32})", first)
    assert boundary is not None
    content = compose_mime(issue(), [copy(POST + b"--inner-" + boundary[1] + b"--\r\nStill here.\r\n")])
    assert text_in(parts_of(content)[1][0]).endswith("--\nStill here.\n")


def test_nobody_is_told_of_an_anonymous_lists_author() -> None:
    settings = CopySettings(is_anonymous=True, subject_prefix="[dev]", footer_text="Footer")
    content = compose_mime(issue(), [copy(POST, settings)])
    assert b"ann@" not in content
    assert b"Ann" not in content
    assert b"Footer" not in content, "the list's texts stand once, around the posts"
    assert parts_of(content)[1][0]["Subject"] == "Hello"


def test_merge_fields_are_their_defaults() -> None:
    post = POST.replace(b"Hello.", b"Dear {{first_name|friend}}, {{email}}!")
    found = parts_of(compose_mime(issue(), [copy(post, is_personal=True)]))[1][0]
    assert text_in(found) == "Dear friend, !\n"
    assert b"{{first_name" in compose_mime(issue(), [copy(post)]), "on other lists they are what somebody wrote"


def test_an_announcement_lists_digest_asks_nobody_to_post() -> None:
    listed = ListHeaders("news", "lists.test", "", is_announcement=True)
    before, _, _ = parts_of(compose_mime(issue(listed=listed), [copy(POST)]))
    assert "go to" not in before
    assert "news-request@lists.test" in before


def test_long_and_strange_subjects_stay_in_the_contents_lines() -> None:
    subjects = [b"x" * 5000, b"word " * 500, b"=?utf-8?q?a=0ABcc:_evil?=", b""]
    posts = [POST.replace(b"Subject: Hello", b"Subject: " + subject) for subject in subjects]
    content = compose_mime(issue(), [copy(post) for post in posts])
    before, found, _ = parts_of(content)
    assert len(found) == len(posts)
    assert max(map(len, before.splitlines())) <= 78
    assert "   3. a Bcc: evil (Ann)" in before
    assert "   4. (no subject) (Ann)" in before
