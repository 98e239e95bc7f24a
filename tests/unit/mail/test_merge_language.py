"""Merge fields and conditions of newsletters: what each member's copy says, and what its signatures do."""

from __future__ import annotations

import base64
import email
import email.policy
import html
from collections.abc import Mapping
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.tokens import Purpose
from shared.core.tracking import TrackedLinks
from shared.mail.dkim import Canonical
from shared.mail.merge_language import MAX_DEPTH
from shared.mail.segments import CompiledMessage, Wire, compile_message
from shared.mail.seven_bit import to_seven_bit
from shared.mail.template import UnreadablePost
from shared.mail.tracking import Tracking
from tests.unit.mail.test_dkim import ED25519, copy, verifies
from tests.unit.mail.test_segments import INJECTIONS

HEADER = b"From: ann@example.com\r\nTo: news@lists.test\r\nMIME-Version: 1.0\r\n"
LINKS = TrackedLinks(b"a secret of the tests", (), "https://lists.example.org")
TRACKING = Tracking(LINKS, 7, is_anonymous=False, includes_plain_text=True)
ANN = {
    "name": "Ann",
    "city": "Bonn",
    "blank": " ",
    "no": "false",
    "zero": "0",
    "html": "<b>&amp;",
    "braces": "{{name}}",
}


def newsletter(text: str, *, subtype: str = "plain", subject: str = "News", encoding: str = "8bit") -> bytes:
    fields = f"Subject: {subject}\r\nContent-Type: text/{subtype}; charset=utf-8\r\n"
    octets = text.encode()
    body = base64.encodebytes(octets).replace(b"\n", b"\r\n") if encoding == "base64" else octets
    return HEADER + f"{fields}Content-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


def compiled(raw: bytes, tracking: Tracking | None = None) -> CompiledMessage:
    return compile_message(raw, is_personal=True, has_conditions=True, tracking=tracking)


def received(message: CompiledMessage, values: Mapping[str, str]) -> EmailMessage:
    """The member's copy as its reader sees it; its signature verifies, and it is well-formed."""
    octets = copy(message, values, [ED25519])
    assert verifies(octets, [ED25519])
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    read = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    # What nothing was put into is as its author wrote it (RFC 5322 §2.1.1), the rest is encoded anew (RFC 2045 §6.7).
    is_as_written = read["Content-Transfer-Encoding"] == "8bit"
    assert max(map(len, octets.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= (998 if is_as_written else 76)
    return read


def text_of(message: EmailMessage) -> str:
    body = message.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body.decode("utf-8")


def said(text: str, values: Mapping[str, str] = ANN, *, subtype: str = "plain") -> str:
    return text_of(received(compiled(newsletter(text, subtype=subtype)), values))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("{{#if name}}Dear {{name}}{{else}}Hello{{/if}}!", "Dear Ann!"),
        ("{{#if missing}}Dear {{missing}}{{else}}Hello{{/if}}!", "Hello!"),
        ("{{#if missing}}x{{/if}}{{#if blank}}y{{/if}}{{#if no}}z{{/if}}", ""),
        ("{{#if zero}}x{{/if}}", "x"),
        ('{{#if city = "Bonn"}}x{{else}}y{{/if}}', "x"),
        ("{{#if city == 'Bonn'}}x{{else}}y{{/if}}", "x"),
        ('{{ #if  city="Bonn" }}x{{ else }}y{{ /if }}', "x"),
        ('{{#if city = "bonn"}}x{{else}}y{{/if}}', "y"),
        ('{{#if city != "Bonn"}}x{{else}}y{{/if}}', "y"),
        ('{{#if missing != "Bonn"}}x{{else}}y{{/if}}', "x"),
        ('{{#if missing = ""}}x{{else}}y{{/if}}', "x"),
        ('{{#if braces = "name"}}x{{else}}y{{/if}}', "y"),
        ('{{#if name}}{{#if city = "Bonn"}}a{{else}}b{{/if}}{{else}}c{{/if}}d', "ad"),
        ("{{#if name}}{{else}}x{{/if}}", ""),
        ("{{#if name}}Grüße = {{city}} {{url:city}}{{/if}} 你好", "Grüße = Bonn Bonn 你好"),
        ("{{name|friend}} {{missing|friend}} {{first\r\nname|my\r\n friend}}", "Ann friend my friend"),
        ("a {{b }} } @media x{a{b:c}} {%if%} {0.__class__}", "a  } @media x{a{b:c}} {%if%} {0.__class__}"),
    ],
)
def test_what_stands_for_a_condition(text: str, read: str) -> None:
    assert said(f"{text}\r\n") == f"{read}\r\n"
    assert said(text).removesuffix("\r\n") == read


@pytest.mark.parametrize(
    ("text", "with_name", "without"),
    [
        ("a\r\n{{#if name}}\r\nb\r\n{{/if}}\r\nc\r\n", "a\r\nb\r\nc\r\n", "a\r\nc\r\n"),
        ("{{#if name}}\nb\n  {{else}}\t\nc\n{{/if}}", "b\r\n", "c\r\n"),
        ("a\n\n{{#if name}}\nb\n\n{{/if}}\n\n\n", "a\r\n\r\nb\r\n\r\n\r\n\r\n", "a\r\n\r\n\r\n\r\n"),
        ("{{#if name}}\n{{#if name}}\nb\n{{/if}}\n{{/if}}\nc\n", "b\r\nc\r\n", "c\r\n"),
        ("a {{#if name}}\nb\n{{/if}} c\n", "a \r\nb\r\n c\r\n", "a  c\r\n"),
        ("{{name}}\n{{#if name}}\n\n\n{{/if}}\n", "Ann\r\n\r\n\r\n", "\r\n"),
    ],
)
def test_a_condition_that_stands_alone_on_its_line_takes_the_line_with_it(
    text: str, with_name: str, without: str
) -> None:
    assert said(text) == with_name
    assert said(text, {}) == without


@pytest.mark.parametrize("encoding", ["8bit", "base64"])
def test_conditions_are_read_in_parts_of_any_encoding_and_in_seven_bits(encoding: str) -> None:
    raw = newsletter('Grüße{{#if city = "Bonn"}} nach Bonn{{/if}}, {{name}}\r\n', encoding=encoding)
    for content in (raw, to_seven_bit(raw)):
        assert text_of(received(compiled(content), ANN)) == "Grüße nach Bonn, Ann\r\n"


def test_in_html_values_are_escaped_and_a_condition_may_be_written_with_references() -> None:
    text = "<p>{{#if html}}{{html}}{{/if}}{{#if&nbsp;html = &quot;&lt;b&gt;&amp;amp;&quot;}}<i>same</i>{{/if}}</p>\r\n"
    assert said(text, subtype="html") == f"<p>{html.escape(ANN['html'])}<i>same</i></p>\r\n"
    assert "evil" not in said("{{#if x}}{{x}}{{/if}}", {"x": "{{#if y}}{{y}}{{/if}}", "y": "evil"})


def test_conditions_count_in_the_subject() -> None:
    subject = "{{#if name}}{{name}}, {{/if}}news{{#if city}} from {{city}}{{else}}!{{/if}}"
    message = compiled(newsletter("x\r\n", subject=subject))
    assert received(message, ANN)["Subject"] == "Ann, news from Bonn"
    assert received(message, {})["Subject"] == "news!"


@pytest.mark.parametrize("value", INJECTIONS)
def test_no_value_adds_a_field_or_ends_the_message(value: str) -> None:
    subject = "{{#if name}}{{name}}{{/if}} {{#if name = 'x'}}{{else}}{{name}}{{/if}}"
    message = compiled(newsletter("{{#if name}}{{name}}\r\n.\r\n{{name}}{{/if}}\r\n", subject=subject))
    read = received(message, {"name": value})
    assert [name for name in read if name != "DKIM-Signature"] == [
        *("From", "To", "MIME-Version", "Subject", "Content-Type", "Content-Transfer-Encoding")
    ]


def test_a_tracked_link_in_a_branch_is_its_readers() -> None:
    text = (
        '<p>{{#if name}}<a href="https://a.example/x">{{name}}</a>{{else}}<a href="https://b.example/">y</a>{{/if}}</p>'
    )
    message = compiled(newsletter(text, subtype="html"), TRACKING)
    wire = Wire(message)
    assert wire.reader_purposes == {Purpose.CLICK, Purpose.OPEN}
    for values, target, other in (
        (ANN, "https://a.example/x", "https://b.example/"),
        ({}, "https://b.example/", "https://a.example/x"),
    ):
        read = text_of(received(message, {**values, **TRACKING.values(11, wire.reader_purposes)}))
        (token, path) = read.partition("/c/")[2].partition('"')[0].split("/")
        click = LINKS.read_click(token, path)
        assert click is not None
        assert (click.url, click.reader.delivery_id) == (target, 11)
        assert other not in read


def test_a_link_of_a_plain_text_ends_where_a_condition_does() -> None:
    text = "{{#if name}}https://a.example/x{{else}}https://b.example/{{/if}} https://c.example/{{url:name}}\r\n"
    message = compiled(newsletter(text), TRACKING)
    read = text_of(received(message, {**ANN, **TRACKING.values(11, Wire(message).reader_purposes)}))
    tracked, as_it_is = read.split()
    click = LINKS.read_click(*tracked.partition("/c/")[2].split("/"))
    assert click is not None
    assert (click.url, as_it_is) == ("https://a.example/x", "https://c.example/Ann")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a\r\n {{#if name}}x", 'line 2, column 2: the condition on "name" has no {{/if}}'),
        ("{{/if}}", "line 1, column 1: {{/if}} has no {{#if}} before it"),
        ("{{ ''.__class__.__mro__ }}", "line 1, column 1: {{''.__class__.__mro__}} is no merge field"),
    ],
)
def test_a_text_with_a_fault_is_sent_to_nobody(text: str, fault: str) -> None:
    with pytest.raises(UnreadablePost) as raised:
        compiled(newsletter(text))
    assert fault in str(raised.value)
    with pytest.raises(UnreadablePost):
        compiled(newsletter("x", subject=text.replace("\r\n", "")))


def test_posts_know_merge_fields_only() -> None:
    raw = newsletter("{{#if name}}{{name}}{{/if}} {{else}}\r\n", subject="{{#if name}}x")
    read = received(compile_message(raw, is_personal=True), {**ANN, "else": "a field"})
    assert text_of(read) == "{{#if name}}Ann{{/if}} a field\r\n"
    assert read["Subject"] == "{{#if name}}x"


def test_what_is_kept_of_a_condition_is_counted() -> None:
    branch = "x" * 100_000
    wire = Wire(compiled(newsletter(f"{{{{#if name}}}}{branch}{{{{/if}}}}")))
    assert wire.has_merge_fields
    assert wire.size_bytes > 100_000


# The same texts twice: as they are written, and what they say to Ann, by a reading of them that is not ours.
_LITERAL = st.sampled_from(["a", " ", "\r\n", ".", "=", "é", "x" * 80, "}}", "{", "<p>", "\t", "\r\n\r\n", "-\r\n"])
_FIELD = st.sampled_from(
    [("{{name}}", "Ann"), ("{{missing|you}}", "you"), ("{{braces}}", "{{name}}"), ("{{no}}", "false")]
)
_TEST = st.sampled_from(
    [("name", True), ("missing", False), ('city = "Bonn"', True), ("city != 'Bonn'", False), ("blank", False)]
)
Written = tuple[str, str]


def _conditions(branches: st.SearchStrategy[Written]) -> st.SearchStrategy[Written]:
    def written(test: tuple[str, bool], then: Written, otherwise: Written | None) -> Written:
        name, holds = test
        middle = "" if otherwise is None else "-{{else}}-" + otherwise[0]
        chosen = then if holds else otherwise
        read = "" if chosen is None else f"-{chosen[1]}-"
        return f"-{{{{#if {name}}}}}-{then[0]}{middle}-{{{{/if}}}}-", f"-{read}-"

    return st.builds(written, _TEST, branches, st.none() | branches)


def _joined(pieces: list[Written]) -> Written:
    # A brace next to a brace would be another text.
    return "|".join(piece[0] for piece in pieces), "|".join(piece[1] for piece in pieces)


_TEXTS = st.recursive(
    st.lists(_LITERAL.map(lambda text: (text, text)) | _FIELD, max_size=6).map(_joined),
    lambda inner: st.lists(_conditions(inner) | inner, max_size=3).map(_joined),
    max_leaves=12,
)


@settings(deadline=None)
@given(_TEXTS, st.sampled_from(["8bit", "base64"]))
def test_any_text_says_what_it_should_and_is_signed(text: Written, encoding: str) -> None:
    message = compiled(newsletter(text[0], encoding=encoding))
    assert text_of(received(message, ANN)).removesuffix("\r\n") == text[1].removesuffix("\r\n")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["{{", "}}", "{", "#if ", "name", "/if", "else", "=", '"', " ", "\n", "|", "é", "\0"])))
def test_any_text_is_read_or_refused(pieces: list[str]) -> None:
    try:
        message = compiled(newsletter("".join(pieces)))
    except UnreadablePost:
        return
    wire = Wire(message)
    Canonical(message).digests(wire.fill(ANN))


def test_the_deepest_text_is_filled() -> None:
    text = "{{#if name}}" * MAX_DEPTH + "x" + "{{/if}}" * MAX_DEPTH
    assert said(text) == "x"
    with pytest.raises(UnreadablePost, match="deep"):
        compiled(newsletter("{{#if name}}" + text + "{{/if}}"))
