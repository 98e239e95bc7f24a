"""Messages with merge fields: what readers see of them, and what no value can do to them."""

from __future__ import annotations

import base64
import email
import email.policy
import html
import re
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.lines import dot_stuff, with_crlf
from shared.mail.merge import MergeField, Values, split
from shared.mail.segments import Wire, compile_message
from tests.samples.odd_messages import ODD_MESSAGES

HEADER = b"From: ann@example.com\r\nTo: news@lists.test\r\n"
INJECTIONS = (
    "x\r\nBcc: e@x",
    "x\nBcc: e@x",
    "x\rBcc: e@x",
    "x\u2028Bcc: e@x",
    "x\u0085Bcc: e@x",
    "x\x0bBcc: e@x",
    "=?utf-8?q?x=0ABcc:_e=40x?=",
    "=?utf-8?b?eA0KQmNjOiBlQHg=?=",
    "x" * 10_000,
    "é" * 10_000,
    "x\r\n\r\nBody",
    "\r\n.\r\nQUIT\r\n",
)


def sent(raw: bytes, values: Values) -> bytes:
    wire = Wire(compile_message(with_crlf(raw), is_personal=True))
    return b"".join(wire.segments(wire.fill(values)))


def received(raw: bytes, values: Values) -> EmailMessage:
    content = sent(raw, values).removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    body = message.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body.decode("utf-8")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("{{name}}", "Ann"),
        ("{{name|friend}}", "Ann"),
        ("{{ name | friend }}", "Ann"),
        ("{{missing|friend}}", "friend"),
        ("{{missing| my friend }}", "my friend"),
        ("{{missing|}}", ""),
        ("{{missing}}", ""),
        ("{{blank|friend}}", "friend"),
        ("{{first name}}", "Zoë"),
        ("{{url:odd}}", "a%26b%20%C3%A9%2F"),
        ("{{url:missing|a b}}", "a%20b"),
        ("{{name}}{{name}}", "AnnAnn"),
        ("{{{name}}}", "{Ann}"),
        ("{{ ''.__class__.__mro__ }}", "{{ ''.__class__.__mro__ }}"),
        ("{% include '/etc/passwd' %}", "{% include '/etc/passwd' %}"),
        ("{{name|{{name}}}}", "{{name|Ann}}"),
        ("{{name\n}}", "{{name\r\n}}"),
        ("{{}} {{ }} {{|x}}", "{{}} {{ }} {{|x}}"),
    ],
)
def test_what_stands_for_a_merge_field(text: str, read: str) -> None:
    values = {"name": "Ann", "first name": "Zoë", "blank": "  ", "odd": "a&b é/"}
    assert text_of(received(HEADER + b"\r\n" + text.encode() + b"\r\n", values)) == f"{read}\r\n"


def test_a_value_is_never_looked_at_again() -> None:
    assert text_of(received(HEADER + b"\r\n{{a}}", {"a": "{{b}}", "b": "secret"})) == "{{b}}"
    assert split("{{a|{0.__class__}}}") == ["{{a|{0.__class__}}}"]
    assert split("x{{a|b}}y") == ["x", MergeField("a", "b", is_in_url=False), "y"]


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"", b"Gr\xc3\xbc\xc3\x9fe, {{name}}!\r\n"),
        (b"Content-Type: text/plain; charset=iso-8859-1\r\n", b"Gr\xfc\xdfe, {{name}}!\r\n"),
        (b"Content-Type: text/plain\r\n", b"Gr\xfc\xdfe, {{name}}!\r\n"),
        (
            b"Content-Type: text/plain; charset=utf-8; format=flowed\r\n"
            b"Content-Transfer-Encoding: QUOTED-PRINTABLE\r\n",
            b"Gr=C3=BC=C3=9Fe, =\r\n{{na=\r\nme}}!\r\n",
        ),
        (
            b'Content-Type: text/plain; charset="utf-16"\r\nContent-Transfer-Encoding: base64\r\n',
            base64.encodebytes("Grüße, {{name}}!\r\n".encode("utf-16")),
        ),
        (
            b"Content-Type: text/plain;\r\n\tcharset=utf-8\r\nContent-Transfer-Encoding: base64\r\n",
            base64.encodebytes("Grüße, {{name}}!\n".encode()),
        ),
    ],
)
def test_any_value_fits_into_a_part_of_any_encoding(header: bytes, body: bytes) -> None:
    message = received(HEADER + header + b"\r\n" + body, {"name": "你好 = Ann"})
    assert text_of(message) == "Grüße, 你好 = Ann!\r\n"
    assert message.get_content_charset() == "utf-8"
    assert len(message.get_all("Content-Type", [])) == len(message.get_all("Content-Transfer-Encoding", [])) == 1
    assert message["MIME-Version"] == "1.0"
    if b"flowed" in header:
        assert message["Content-Type"].params["format"] == "flowed"


def test_html_values_are_escaped_and_defaults_are_the_authors() -> None:
    text = b"<p>{{name}} {{missing|<b>you</b>}} <a href='/?{{url:name}}'></p>\r\n"
    raw = HEADER + b"Content-Type: text/html\r\n\r\n" + text
    message = received(raw, {"name": "<script>&"})
    assert text_of(message) == f"<p>{html.escape('<script>&')} <b>you</b> <a href='/?%3Cscript%3E%26'></p>\r\n"


def test_every_text_of_a_multipart_is_filled_and_the_rest_is_as_it_was() -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "ann@example.com", "Hello {{name}}"
    message.set_content("Dear {{name}},\n")
    message.add_alternative("<p>Dear {{name}},</p>\n", subtype="html")
    message.add_attachment(b"{{name}}\x00\xff" * 100, maintype="application", subtype="octet-stream", filename="a.bin")
    message.add_attachment("{{name}}\n", filename="b.txt")
    raw = with_crlf(message.as_bytes())
    copy = received(raw, {"name": "Ann"})
    assert copy["Subject"] == "Hello Ann"
    plain, rich = copy.get_body(("plain",)), copy.get_body(("html",))
    assert plain is not None and rich is not None
    assert (plain.get_content(), rich.get_content()) == ("Dear Ann,\r\n", "<p>Dear Ann,</p>\r\n")
    contents = [part.get_content() for part in copy.iter_attachments()]
    assert contents == [b"{{name}}\x00\xff" * 100, "{{name}}\r\n"]


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/signed; boundary=b",
        b"multipart/encrypted; boundary=b",
        b"message/rfc822",
        b"application/octet-stream",
        b"text/calendar",
        b"text/plain; charset=klingon",
    ],
)
def test_what_must_not_be_changed_or_cannot_be_read_stays_as_it_is(content_type: bytes) -> None:
    body = b"--b\r\nContent-Type: text/plain\r\n\r\n{{name}}\r\n--b--\r\n"
    raw = HEADER + b"Content-Type: " + content_type + b"\r\n\r\n" + body
    assert sent(raw, {"name": "Ann"}) == raw + b".\r\n"


_LOOSE_COLON = re.compile(rb"^(Subject)[ \t]+:", re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(ODD_MESSAGES) - {"a body without an empty line"}))
def test_a_message_that_is_not_personal_goes_out_as_it_is(name: str) -> None:
    raw = with_crlf(ODD_MESSAGES[name])
    content = b"".join(Wire(compile_message(raw, is_personal=False)).segments())
    assert content == dot_stuff(_LOOSE_COLON.sub(rb"\1:", raw))


@pytest.mark.parametrize("value", INJECTIONS)
def test_no_value_adds_a_field(value: str) -> None:
    raw = HEADER + b"Subject: Hello {{name}}\r\nX-Name: {{name}}\r\nReply-To: {{name}}\r\n\r\nHello.\r\n"
    message = received(raw, {"name": value})
    assert message.keys() == ["From", "To", "Subject", "X-Name", "Reply-To"]
    assert str(message["Reply-To"]) == "{{name}}", "an address is not a text"
    content = sent(raw, {"name": value})
    assert content.endswith(b"\r\n\r\nHello.\r\n.\r\n")
    assert max(map(len, content.split(b"\r\n"))) <= 998


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_value_ends_the_message_or_leaves_a_long_line(value: str, literal: str) -> None:
    raw = HEADER + b"Subject: {{x}}\r\n\r\n" + literal.encode("utf-8", "replace") + b"{{x}}.{{x}}"
    content = sent(raw, {"x": value})
    assert content.count(b"\r\n.\r\n") == 1
    assert content.endswith(b"\r\n.\r\n")
    assert b"\r" not in content.replace(b"\r\n", b"") and b"\n" not in content.replace(b"\r\n", b"")
    header, _, body = content.partition(b"\r\n\r\n")
    assert all(line.startswith(b"..") for line in body.split(b"\r\n")[:-2] if line.startswith(b"."))
    assert max(map(len, body.split(b"\r\n"))) <= 77, "76 and a doubled dot"
    assert header.isascii()


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_a_value_is_read_as_it_is(value: str) -> None:
    expected = value.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    if expected.strip():
        assert text_of(received(HEADER + b"\r\n<{{x}}>\r\n", {"x": value})) == f"<{expected}>\r\n"
