"""A digest in plain text, as RFC 1153 has it."""

from __future__ import annotations

import base64
import re

import pytest

from shared.mail.digest.plain import KEPT_FIELDS, compose_plain, plain_post
from tests.samples.odd_messages import ODD_MESSAGES
from tests.samples.posts import FIELDS, HTML, MIME, PDF, PLAIN, READABLE, SEALED, multipart
from tests.unit.mail.digest.issues import copy, issue, parsed, text_in

POST = FIELDS + b"\r\nHello.\r\n"
SEPARATOR = "\n\n" + "-" * 30 + "\n\n"


def text_of(*posts: bytes, header: str = "", footer: str = "") -> str:
    message = parsed(compose_plain(issue(header=header, footer=footer), [plain_post(copy(post)) for post in posts]))
    assert message.get_content_type() == "text/plain"
    assert message["Subject"] == "Dev Digest, Vol 3, Issue 12"
    return text_in(message)


def posts_in(text: str) -> list[str]:
    """What an undigestifying program finds."""
    preamble, found, rest = text.partition("\n\n" + "-" * 70 + "\n\n")
    assert found
    assert "Today's Topics:" in preamble
    *posts, trailer = rest.split(SEPARATOR)
    assert trailer == "End of Dev Digest, Vol 3, Issue 12\n" + "*" * 34 + "\n"
    return posts


def body_of(post: bytes) -> str:
    [found] = posts_in(text_of(post))
    return found.partition("\n\n")[2]


def test_it_is_a_preamble_the_posts_and_a_trailer() -> None:
    bye = POST.replace(b"Subject: Hello", b"Subject: Bye").replace(b"Hello.", b"\r\n \r\nBye.\r\n\r\n\r\n")
    text = text_of(POST, bye, header="Be kind.", footer="Footer")
    assert "\n\nBe kind.\n\nToday's Topics:\n\n   1. Hello (Ann)\n   2. Bye (Ann)\n\n" + "-" * 70 + "\n\nDate:" in text
    first, second, footer = posts_in(text)
    assert first == (
        "Date: Mon, 23 Nov 2026 12:00:00 +0000\nFrom: Ann <ann@example.org>\nTo: dev@lists.test\n"
        "Subject: Hello\nMessage-ID: <1@example.org>\n\nHello."
    )
    assert second.endswith("\n\nBye."), "no blank lines around a text"
    assert footer == "Subject: Digest Footer\n\nFooter"


def test_the_kept_fields_stand_in_their_order_as_they_were() -> None:
    fields = (
        b"Summary: short\r\nKeywords: a, b\r\nX-Mailer: none\r\nMessage-ID: <1@e.org>\r\nSubject: Hello,\r\n\tworld\r\n"
        b"Cc: bob@e.org,\r\n  carol@e.org\r\nTo: dev@lists.test\r\nFrom: =?utf-8?q?=C3=84nn?= <ann@e.org>\r\n"
        b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nReceived: from x\r\n\r\nHello.\r\n"
    )
    [post] = posts_in(text_of(fields))
    head = post.partition("\n\n")[0]
    assert re.findall(r"^([A-Za-z-]+):", head, re.MULTILINE) == list(KEPT_FIELDS)
    assert "\nCc: bob@e.org,\n  carol@e.org\n" in head
    assert "\nSubject: Hello,\n\tworld\n" in head
    assert "\nFrom: Änn <ann@e.org>\n" in head


def test_a_line_of_thirty_hyphens_ends_no_post() -> None:
    post = POST.replace(b"Hello.", b"one\r\n\r\n" + b"-" * 30 + b"\r\n\r\ntwo\r\n" + b"-" * 29)
    assert body_of(post) == "one\n\n " + "-" * 29 + "\n\ntwo\n" + "-" * 29
    assert len(posts_in(text_of(POST, header="-" * 70, footer="-" * 30))) == 2


def test_what_is_no_text_becomes_a_note() -> None:
    assert body_of(READABLE["an attachment"]) == "Grüße\n\n[Attachment: a.pdf (application/pdf, 9 bytes)]"
    picture = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(b"x" * 9_000)
    named = PDF.replace(b'filename="a.pdf"', b"filename*=utf-8''B%C3%BCcher%0A.pdf")
    message = b"Content-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\nHello.\r\n"
    body = body_of(MIME + multipart(b"mixed", PLAIN, picture, named, message))
    assert body.split("\n\n") == [
        "Grüße",
        "[Attachment: image/png, 9 kB]",
        "[Attachment: Bücher .pdf (application/pdf, 9 bytes)]",
        "[Attached message: Inner]",
    ]


def test_html_is_read_only_where_there_is_no_plain_text() -> None:
    assert body_of(READABLE["plain and HTML"]) == "Grüße"
    assert body_of(MIME + HTML).strip() == "Grüße von hier und von dort und auch noch von ganz woanders"
    assert body_of(MIME + multipart(b"alternative", HTML)).startswith("Grüße von hier")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ISO-8859-1 in 8 bits", "café"),
        ("UTF-16 in base64", "Grüße"),
        ("ISO-2022-JP in 7 bits", "こんにちは"),
        ("KOI8-R in quoted-printable", "Привет"),
        ("no MIME and 8 bits of UTF-8", "Grüße"),
        ("empty", "(no text)"),
        ("an unknown character set", "Hello."),
        ("the wrong character set", "caf\ufffd"),
        (
            "S/MIME",
            "Signed From Ann. \n-- \n\n.\nAnn \n\n[Attachment: smime.p7s (application/pkcs7-signature, 3 bytes)]",
        ),
    ],
)
def test_any_character_set_is_read_or_its_signs_replaced(name: str, text: str) -> None:
    assert body_of({**READABLE, **SEALED}[name]) == text


@pytest.mark.parametrize("name", [*READABLE, *SEALED])
def test_every_kind_of_post_is_one_post(name: str) -> None:
    assert len(posts_in(text_of({**READABLE, **SEALED}[name], POST))) == 2


@pytest.mark.parametrize("name", ODD_MESSAGES)
def test_no_odd_message_breaks_it(name: str) -> None:
    content = compose_plain(issue(), [plain_post(copy(ODD_MESSAGES[name])), plain_post(copy(POST))])
    assert content.isascii()
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", content)
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert len(posts_in(text_in(parsed(content)))) == 2


def test_a_text_of_any_size_is_bounded_and_says_so() -> None:
    body = body_of(FIELDS + b"\r\n" + b"word " * 400_000)
    assert len(body) < 510_000
    assert body.endswith("[There is more of this post, which is left out here]")
