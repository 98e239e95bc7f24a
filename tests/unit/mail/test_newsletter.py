from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from shared.mail.lines import has_line_longer_than, with_crlf
from shared.mail.newsletter import Attachment, Letter, compose
from shared.mail.segments import Wire, compile_message
from shared.mail.template import ListHeaders, compile_post

WRITTEN_AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LETTER = Letter(
    from_name="Grüße aus Bonn",
    from_address="news@lists.example.org",
    reply_to_address=None,
    to_name="News",
    to_address="news@lists.example.org",
    subject="Hello {{display_name|Zoë}}",
    preheader="",
    text="Dear {{display_name|friend}},\n\n.a dot, and a long line: " + "word " * 40 + "\nFrom here on.",
    html="",
)
HTML = "<html><head></head><body class='a'><p>Dear {{display_name|friend}}</p></body></html>"
LOGO = Attachment("logo.png", "image/png", "logo", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
REPORT = Attachment("Jahresbericht für alle.pdf", "application/pdf", "", b"%PDF-1.7 " * 1000)


def composed(letter: Letter) -> bytes:
    return compose(letter, message_id="<1@lists.example.org>", written_at=WRITTEN_AT)


def read(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not [defect for part in message.walk() for defect in part.defects]
    return message


def shape(message: EmailMessage) -> object:
    if not message.is_multipart():
        return message.get_content_type()
    return message.get_content_type(), [shape(part) for part in message.iter_parts()]  # type: ignore[arg-type]


def test_a_text_is_one_part() -> None:
    message = read(composed(LETTER))
    assert message["From"] == "Grüße aus Bonn <news@lists.example.org>"
    assert message["To"] == "News <news@lists.example.org>"
    assert message["Subject"] == LETTER.subject
    assert message["Message-ID"] == "<1@lists.example.org>"
    assert message["Date"] == "Mon, 23 Nov 2026 08:00:00 +0000"
    assert "Reply-To" not in message
    assert shape(message) == "text/plain"
    assert message.get_content().replace("\r\n", "\n") == LETTER.text + "\n"


ALTERNATIVE = ("multipart/alternative", ["text/plain", "text/html"])


@pytest.mark.parametrize(
    ("attachments", "expected"),
    [
        ((), ALTERNATIVE),
        ((LOGO,), ("multipart/related", [ALTERNATIVE, "image/png"])),
        ((REPORT,), ("multipart/mixed", [ALTERNATIVE, "application/pdf"])),
        ((REPORT, LOGO), ("multipart/mixed", [("multipart/related", [ALTERNATIVE, "image/png"]), "application/pdf"])),
    ],
)
def test_parts_stand_where_mail_programs_look_for_them(attachments: tuple[Attachment, ...], expected: object) -> None:
    message = read(composed(replace(LETTER, html=HTML, attachments=attachments)))
    assert shape(message) == expected
    for attachment in attachments:
        part = next(part for part in message.walk() if part.get_content_type() == attachment.content_type)
        assert isinstance(part, EmailMessage)
        assert part.get_filename() == attachment.file_name
        assert part.get_content() == attachment.content
        assert part["Content-ID"] == (f"<{attachment.content_id}>" if attachment.content_id else None)


def test_without_html_an_image_goes_as_a_file() -> None:
    assert shape(read(composed(replace(LETTER, attachments=(LOGO,))))) == (
        "multipart/mixed",
        ["text/plain", "image/png"],
    )


def test_a_missing_text_is_made_of_the_html() -> None:
    message = read(composed(replace(LETTER, text=" \n", html=HTML)))
    plain = message.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().strip() == "Dear {{display_name|friend}}"


@pytest.mark.parametrize(
    ("html", "begin"),
    [
        (HTML, "<html><head></head><body class='a'><div style="),
        ("<p>Hi</p>", "<div style="),
        ("<!DOCTYPE html><p>Hi</p>", "<!DOCTYPE html><div style="),
        ("<html><head><title>x</title></head><p>Hi", "<html><head><title>x</title></head><div style="),
        ("<body", "<div style="),
    ],
)
def test_the_preheader_is_the_first_thing_in_the_html_and_hidden(html: str, begin: str) -> None:
    preheader = 'News & more {{#if city = "Bonn"}}<Bonn>{{/if}}'
    part = read(composed(replace(LETTER, html=html, preheader=preheader))).get_body(("html",))
    assert part is not None
    content = part.get_content()
    assert content.startswith(begin)
    assert 'News &amp; more {{#if city = "Bonn"}}&lt;Bonn&gt;{{/if}}</div>' in content
    assert content[len(begin) :].startswith('"display:none')


@pytest.mark.parametrize(
    "name", ["a b.pdf", 'quo"te.pdf', "日本語" * 40 + ".pdf", "100%.txt", "semi;colon.txt", "x.pdf"]
)
def test_file_names_come_through_as_they_are(name: str) -> None:
    content = composed(replace(LETTER, attachments=(replace(REPORT, file_name=name),)))
    assert not has_line_longer_than(78, content)
    (part,) = read(content).iter_attachments()
    assert part.get_filename() == name


def test_a_forwarded_message_is_a_file() -> None:
    mail = Attachment("mail.eml", "message/rfc822", "", b"Subject: x\r\n\r\nx\r\n")
    content = composed(replace(LETTER, attachments=(mail,)))
    assert shape(read(content)) == ("multipart/mixed", ["text/plain", "application/octet-stream"])


def test_no_value_of_a_letter_begins_a_field_or_a_part() -> None:
    evil = "x\r\nBcc: evil@example.net\r\n\r\n--=_mixed"
    letter = replace(LETTER, from_name=evil, to_name=evil, subject=evil, preheader=evil, text=evil, html=evil)
    files = (replace(LOGO, file_name=evil, content_id="a b\r\nBcc: x"), replace(REPORT, file_name=evil))
    message = read(composed(replace(letter, attachments=files)))
    assert "Bcc" not in message
    assert shape(message) == (
        "multipart/mixed",
        [("multipart/related", [ALTERNATIVE, "image/png"]), "application/pdf"],
    )
    assert not any("Bcc" in part for part in message.walk())


def test_the_same_letter_is_the_same_message_in_seven_bits_and_short_lines() -> None:
    letter = replace(LETTER, html=HTML + "é" * 2000, preheader="Ü", attachments=(LOGO, REPORT))
    content = composed(letter)
    assert content == composed(letter)
    assert content.isascii()
    assert with_crlf(content) == content
    assert not has_line_longer_than(78, content)


def test_copies_are_compiled_as_those_of_a_post_are() -> None:
    letter = replace(LETTER, html=HTML, attachments=(LOGO, REPORT))
    headers = ListHeaders("news", "lists.example.org", "News", is_announcement=True)
    post = compile_post(composed(letter), headers, message_id="<unused@example.org>", received_at=WRITTEN_AT)
    wire = Wire(compile_message(post, is_personal=True))
    copy = read(b"".join(wire.segments(wire.fill({"display_name": "Ann <&>"}))).removesuffix(b".\r\n"))
    assert copy["Subject"] == "Hello Ann <&>"
    assert copy["Message-ID"] == "<1@lists.example.org>"
    assert copy["List-Id"] == "News <news.lists.example.org>"
    plain, html = copy.get_body(("plain",)), copy.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().startswith("Dear Ann <&>,\r\n\r\n")
    assert "<p>Dear Ann &lt;&amp;&gt;</p>" in html.get_content()
    assert [part.get_content() for part in copy.iter_attachments()][-1] == REPORT.content
