"""A list's texts around a post: within what people read, and beside what must stay as it is."""

from __future__ import annotations

import email
import email.policy
import html
import re
import time
from datetime import UTC, datetime
from email.message import EmailMessage, Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.copies import CopySettings
from shared.mail.template import ListHeaders, compile_post
from tests.samples.odd_messages import ODD_MESSAGES
from tests.samples.posts import FIELDS, HTML, MIME, PDF, PLAIN, READABLE, SEALED, SIGNED_PART, multipart

DEV = ListHeaders(name="dev", domain="lists.test", display_name="Developers", is_announcement=False)
ABOVE = "Welcome to <Dev> & friends"
BELOW = "____\n> dev@lists.test\nhttps://lists.test/?a=1&b=2"
ASCII = CopySettings(header_text=ABOVE, footer_text=BELOW)
GERMAN = CopySettings(footer_text="Grüße von der Liste")
CHINESE = CopySettings(header_text="你好", footer_text="再见 €")


def copied(raw: bytes, settings: CopySettings = ASCII) -> bytes:
    return compile_post(
        raw, DEV, message_id="<7@lists.test>", received_at=datetime(2026, 11, 23, tzinfo=UTC), settings=settings
    )


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def said(part: Message) -> str:
    """What a text part says, its lines ended by line feeds."""
    assert isinstance(part, EmailMessage)
    return str(part.get_content()).replace("\r\n", "\n")


def texts(message: Message) -> list[str]:
    """What the parts that are shown say, in order."""
    shown = [part for part in message.walk() if part.get_content_maintype() == "text" and not part.get_filename()]
    return [said(part) for part in shown if part.get_content_subtype() != "calendar"]


def without_space(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("settings", [ASCII, GERMAN, CHINESE])
@pytest.mark.parametrize("name", READABLE)
def test_the_texts_stand_within_what_people_read(name: str, settings: CopySettings) -> None:
    raw = READABLE[name]
    # Without a word about it, the standard library's parser takes no 8 bits for UTF-8.
    author = parsed(raw if name != "no MIME and 8 bits of UTF-8" else MIME + PLAIN)
    message = parsed(copied(raw, settings))
    assert [part.get_content_type() for part in message.walk()] == [part.get_content_type() for part in author.walk()]
    assert not any(part.defects for part in message.walk())
    above, below = without_space(settings.header_text), without_space(settings.footer_text)
    count_above, count_below = 0, 0
    for ours, theirs in zip(texts(message), texts(author), strict=True):
        if "<p>" in ours:
            assert without_space(re.sub(r"<div>.*?</div>", "", ours, flags=re.DOTALL)) == without_space(theirs)
            count_above += settings.header_text in html.unescape(ours)
            count_below += settings.footer_text.partition("\n")[0] in html.unescape(ours)
        else:
            squeezed = without_space(ours)
            count_above += squeezed.startswith(above)
            count_below += squeezed.endswith(below)
            assert squeezed.removeprefix(above).removesuffix(below) == without_space(theirs)
    forms = 2 if "multipart/alternative" in str(message) else 1
    several = forms + ("list before" in name)
    assert count_above == (forms if above else several)
    assert count_below == forms


@pytest.mark.parametrize("settings", [ASCII, CHINESE])
@pytest.mark.parametrize("name", SEALED)
def test_what_must_not_be_changed_is_a_part_with_every_byte_as_it_was(name: str, settings: CopySettings) -> None:
    raw = SEALED[name]
    content = copied(raw, settings)
    message = parsed(content)
    assert message.get_content_type() == "multipart/mixed"
    parts = list(message.iter_parts())
    assert [said(part).strip() for part in (parts[0], parts[-1])] == [
        settings.header_text,
        settings.footer_text,
    ]
    assert len(parts) == 3
    body = raw.partition(b"\r\n\r\n")[2]
    assert b"\r\n\r\n" + body + b"\r\n--" in content
    content_type = re.search(rb"(?m)^Content-Type:.*\r\n(?:[ \t].*\r\n)*", raw.partition(b"\r\n\r\n")[0] + b"\r\n")
    if content_type:
        assert content.count(content_type.group()) >= raw.count(content_type.group())
    if SIGNED_PART in raw:
        assert content.count(SIGNED_PART) == 1


def test_a_plain_text_keeps_its_character_set_and_encoding_where_the_footer_fits() -> None:
    latin = copied(READABLE["ISO-8859-1 in 8 bits"], GERMAN)
    assert b"charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n" in latin
    assert latin.endswith("\r\n\r\ncafé\r\n\r\nGrüße von der Liste\r\n".encode("latin-1"))
    japanese = copied(READABLE["ISO-2022-JP in 7 bits"])
    assert b"charset=ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit\r\n" in japanese
    assert "こんにちは\r\n\r\n____\r\n".encode("iso-2022-jp") in japanese


def test_a_plain_text_becomes_utf_8_where_the_footer_does_not_fit() -> None:
    content = copied(READABLE["ISO-8859-1 in 8 bits"], CHINESE)
    assert parsed(content).get_content_charset() == "utf-8"
    assert said(parsed(content)) == "你好\n\ncafé\n\n再见 €\n"
    plain = copied(READABLE["no MIME"], CHINESE)
    assert parsed(plain)["MIME-Version"] == "1.0"
    assert said(parsed(plain)) == "你好\n\nHello.\n\n再见 €\n"


def test_html_gets_escaped_blocks_at_both_ends_of_its_body() -> None:
    content = copied(MIME + HTML)
    text = said(parsed(content))
    assert "<BODY class='a'>\n<div>\nWelcome to &lt;Dev&gt; &amp; friends\n</div>\n" in text
    assert (
        "woanders</p>\n<div>\n____<br>\n&gt; dev@lists.test<br>\nhttps://lists.test/?a=1&amp;b=2\n</div>\n</body>"
        in text
    )
    assert text.count("<div>") == 2
    assert b"charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n" in content


def test_html_has_no_need_of_another_character_set() -> None:
    content = copied(MIME + HTML, CHINESE)
    assert b"charset=iso-8859-1" in content
    assert "&#20320;&#22909;" in parsed(content).get_content()


def test_html_without_tags_of_its_own_gets_the_blocks_around_it() -> None:
    assert said(parsed(copied(READABLE["HTML without a body's tags"]))) == (
        "\n<div>\nWelcome to &lt;Dev&gt; &amp; friends\n</div>\n<p>Hello"
        "\n<div>\n____<br>\n&gt; dev@lists.test<br>\nhttps://lists.test/?a=1&amp;b=2\n</div>\n"
    )


def test_a_flowed_text_stays_flowed_and_ours_does_not_flow() -> None:
    content = copied(READABLE["a flowed text"])
    assert b"format=flowed; delsp=no" in content
    assert content.endswith(
        b"A line that flows \r\non here.\r\n> quoted \r\n> here\r\n-- \r\nAnn \r\n"
        b"\r\n____\r\n > dev@lists.test\r\nhttps://lists.test/?a=1&b=2\r\n"
    )


def test_header_and_footer_stand_at_the_two_ends_of_several_texts() -> None:
    above, below = texts(parsed(copied(READABLE["the footer of a list before"], CHINESE)))
    assert (above, below) == ("你好\n\nGrüße\n", "Grüße\n\n再见 €\n")


def test_one_text_alone_changes_nothing_at_the_other_end() -> None:
    content = copied(MIME + multipart(b"mixed", PLAIN, PDF, PLAIN), CopySettings(footer_text="Bye"))
    assert content.count(PLAIN + b"\r\nBye\r\n") == 1
    assert content.index(PLAIN) < content.index(PLAIN + b"\r\nBye")


def test_a_line_of_ours_that_delimits_the_authors_parts_is_put_beside_them() -> None:
    raw = MIME + multipart(b"mixed", PLAIN, PDF, boundary=b"__")
    message = parsed(copied(raw, CopySettings(footer_text="x\n--__\ny")))
    parts = list(message.iter_parts())
    assert parts[0].get_content_type() == "multipart/mixed"
    assert said(parts[1]) == "x\n--__\ny\n"


def test_a_piece_of_a_message_is_left_alone() -> None:
    piece = MIME + b'Content-Type: message/partial; number=1; total=2; id="x"\r\n\r\nHello.\r\n'
    assert copied(piece) == copied(piece, CopySettings())


def test_the_same_post_gives_the_same_bytes() -> None:
    assert copied(SEALED["S/MIME"]) == copied(SEALED["S/MIME"])


@pytest.mark.parametrize("name", ODD_MESSAGES)
def test_odd_messages_get_the_texts_or_stay(name: str) -> None:
    content = copied(ODD_MESSAGES[name], CHINESE)
    assert b"\r" not in content.replace(b"\r\n", b"")
    if "nested" not in name and name != "many parts":
        parsed(content).as_bytes()
    assert all(len(line) <= 998 for line in content.split(b"\r\n")) or "long" in name or "drawn" in name


@given(
    st.lists(st.sampled_from([PLAIN, HTML, PDF, SIGNED_PART, b"\r\nx\r\n", b"\xff\r\n\r\n=\xe9"]), max_size=5),
    st.sampled_from([b"mixed", b"alternative", b"related", b"signed", b"report"]),
    st.sampled_from([b"mixed", b"alternative", b"signed", b"encrypted"]),
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=300),
    st.booleans(),
)
def test_what_is_made_can_be_parsed_and_keeps_what_is_sealed(
    parts: list[bytes], outer: bytes, inner: bytes, text: str, is_cut: bool
) -> None:
    sealed = multipart(b"signed", SIGNED_PART, PDF, boundary=b"sealed")
    raw = MIME + multipart(outer, *parts, multipart(inner, *parts, sealed, boundary=b"inner"), boundary=b"outer")
    content = copied(raw[: len(raw) * 3 // 4] if is_cut else raw, CopySettings(header_text=text, footer_text="Bye"))
    assert is_cut or content.count(sealed) == 1
    message = parsed(content)
    assert is_cut or message.is_multipart()
    message.as_bytes()


@given(st.binary(max_size=400))
def test_any_body_gets_its_footer(body: bytes) -> None:
    content = copied(FIELDS + b"\r\n" + body, CopySettings(footer_text="Bye"))
    assert texts(parsed(content))[-1].endswith("Bye\n")


@pytest.mark.parametrize(
    "body",
    [
        b"<!--" * 100_000,
        b"<body " * 100_000,
        b"<script" * 100_000,
        b"<script>" * 100_000 + b"</script  " * 50_000,
        b"<!doctype" * 100_000,
        b"=\r\n" * 300_000,
        b"-----BEGIN " * 90_000,
    ],
)
def test_hostile_texts_take_no_time(body: bytes) -> None:
    began = time.process_time()
    copied(MIME + b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body)
    assert time.process_time() - began < 5
