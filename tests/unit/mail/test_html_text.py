"""Plain text made from HTML: what its readers see, and what hostile HTML cannot do."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.mail.html_text import text_of_html
from shared.mail.merge_check import check
from shared.mail.merge_language import parse
from shared.mail.text_blocks import LINE_CHARACTERS


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<p> &nbsp; </p><div></div>", ""),
        ("Hello", "Hello\n"),
        ("<p>One\n two</p>  <p>three</p>", "One two\n\nthree\n"),
        ("<p>One<p>two</div>three", "One\n\ntwothree\n"),
        ("<div>One<div>two</div>three</div>", "One\n\ntwo\n\nthree\n"),
        ("a<br>b<br/><br><br>c", "a\nb\n\nc\n"),
        ("<b>a</b><i> b</i> <u>c</u>", "a b c\n"),
        ("<h1>Title</h1><h2>Part</h2><h3>Less</h3>x", "Title\n=====\n\nPart\n----\n\nLess\n\nx\n"),
        ("a<hr>b", "a\n\n--------------------\n\nb\n"),
        ("<pre>\na\n  b   c\n</pre>", "a\n  b   c\n"),
        ("<blockquote><p>a</p><p>b</p></blockquote>c", "> a\n>\n> b\n\nc\n"),
        ("&lt;b&gt; &amp;amp; &euro; &#x1F600; a&nbsp;b", "<b> &amp; € 😀 a b\n"),
        ("&#" + "9" * 5000 + ";x", "�x\n"),
        ("soft\u00adhyphen zero\u200bwidth\ufeff &#847;\u0000", "softhyphen zerowidth\n"),
        ("a\u2028Bcc: x", "a Bcc: x\n"),
    ],
)
def test_blocks_and_characters(html: str, text: str) -> None:
    assert text_of_html(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("x<ul><li>a</li><li>b</ul>y", "x\n\n* a\n* b\n\ny\n"),
        ("<ol><li>a<li>b<ul><li>c</ul><li>d</ol>", "1. a\n2. b\n  * c\n3. d\n"),
        ("<ul><li><p>a</p><p>b</p></li><li></li><li>c</ul>", "* a\n\n  b\n\n* c\n"),
        ("<dl><dt>a<dd>b<dt>c<dd>d</dl>", "a\n\nb\n\nc\n\nd\n"),
        ("<table><tr><th>a<th>b<tr><td>1<td>2</table>", "a | b\n1 | 2\n"),
        ("<table><tr><td>a<td><td>b</tr><tr><td><td>c</tr></table>", "a | | b\nc\n"),
        ("<table><tr><td><p>a</p></td></tr><tr><td><p>b</p></td></tr></table>", "a\n\nb\n"),
        ("<table><tr><td>a<td><table><tr><td>b</table></table>c", "a\n\nb\n\nc\n"),
    ],
)
def test_lists_and_tables(html: str, text: str) -> None:
    assert text_of_html(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            '<a href="https://a.example/?a=1&amp;b=2">our <b>shop</b></a>, now',
            "our shop (https://a.example/?a=1&b=2), now",
        ),
        ('<a href="https://a.example/">https://a.example</a>', "https://a.example/"),
        ('<a href="https://a.example/">a.example</a>', "https://a.example/"),
        ('<a href="mailto:ann@a.example?subject=x">ann@a.example</a>', "ann@a.example"),
        ('<a href="mailto:ann%40a.example">Ann</a>', "Ann (ann@a.example)"),
        ('<a href="tel:+4922812">call</a>', "call (+4922812)"),
        ('<a href="https://a.example/"><img src="x" alt="Logo"></a>', "Logo (https://a.example/)"),
        ('<a href="https://a.example/"><img src="x"></a>', "https://a.example/"),
        ('<a href="https://a.example/"></a>x', "x"),
        ('<a href="https://a.example/"><div>a</div></a>b', "a (https://a.example/)\n\nb"),
        (
            '<a href="https://a.example/">a<a href="https://b.example/">b</a>',
            "a (https://a.example/)b (https://b.example/)",
        ),
        ('<p><a href="https://a.example/"><div>a</div> b</a></p>', "a\n\nb (https://a.example/)"),
        ('<a href="javascript:alert(1)">a</a> <a href="data:x">b</a> <a href="#c">c</a> <a>d</a>', "a b c d"),
        ('<a href="https://a.example/?m={{url:email}}">you</a>', "you (https://a.example/?m={{url:email}})"),
        ('<a href="{{link}}">you</a>', "you ({{link}})"),
        ('<a href="{{#if a = "b"}}https://a.example/{{/if}}">you</a>', "you"),
        ('<img src="https://a.example/open.gif" width=1>x', "x"),
    ],
)
def test_links_and_images(html: str, text: str) -> None:
    assert text_of_html(html) == f"{text}\n"


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>{0}</script>",
        "<style>{0}</style>",
        "<title>{0}</title>",
        "<head><meta>{0}</head>",
        "<head>{0}<body>",
        "<template>{0}</template>",
        "<!-- {0} -->",
        "<!--[if mso]>{0}<![endif]-->",
        "<svg><text>{0}</text></svg>",
        "<div hidden>{0}<div>{0}</div>{0}</div>",
        "<div style='color:red; DISPLAY : none !important'>{0}<p>{0}</div>",
        "<span style=visibility:hidden>{0}</span>",
        "<div><span style='mso-hide:all'>{0}</div>",
        "<p hidden>{0}<p>",
        "<ul><li hidden>{0}</ul>",
        "<a hidden href='https://secret.example/'>{0}</a>",
    ],
)
def test_what_is_hidden_is_not_told(hidden: str) -> None:
    assert text_of_html(f"before {hidden.format('secret')} after").split() == ["before", "after"]
    assert "secret" not in text_of_html(f"<html>{hidden.format('secret')}</html>")


def test_lines_are_wrapped_and_long_addresses_stay_whole() -> None:
    address = "https://a.example/" + "x" * 100
    text = text_of_html(
        f"<ul><li>{'word ' * 50}<a href='{address}'>there</a></ul><blockquote>{'word ' * 50}</blockquote>"
    )
    lines = text.split("\n")
    assert f"  ({address})" in lines
    assert max(len(line) for line in lines if address not in line) <= LINE_CHARACTERS
    assert text.count("word") == 100
    assert all(line.startswith("> word") for line in lines[-4:-1])


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Dear {{name|<b>dear</b> A&amp;B}},</p>", "Dear {{name|dear A&B}},\n"),
        ("<p>{{#if a}}Dear {{a}}{{else}}Hello{{/if}}!</p>", "{{#if a}}Dear {{a}}{{else}}Hello{{/if}}!\n"),
        (
            "<p>x</p>{{#if a}}<p>y</p>{{else}}<p>z</p>{{/if}}<h1>end</h1>",
            "x\n\n{{#if a}}y\n\n{{else}}z\n\n{{/if}}end\n===\n",
        ),
        ("<ul>{{#if a}}<li>y</li>{{/if}}<li>z</ul>", "{{#if a}}* y\n{{/if}}* z\n"),
        ("<ul><li>{{#if a}}y{{else}}z{{/if}}</ul>", "* {{#if a}}y{{else}}z{{/if}}\n"),
        ("<ul><li>x{{#if a}}<li>{{else}}<li>y{{/if}}</ul>", "* x{{#if a}}\n{{else}}* y{{/if}}\n"),
        ("<p>x</p>{{#if a}}<p>y</p>{{/if}}", "x\n\n{{#if a}}y{{/if}}\n"),
        ("{{#if a = &quot;B&amp;C&quot;}}x{{/if}}", '{{#if a = "B&C"}}x{{/if}}\n'),
        ("&#123;&#123;name}} {{name|&#123;}}", "{ {name}} {{name|&#123;}}\n"),
    ],
)
def test_merge_fields_and_conditions_stay_as_they_are(html: str, text: str) -> None:
    assert text_of_html(html) == text
    assert check(text, {"a", "name", "first"}) == []


def test_a_line_is_not_broken_within_a_condition() -> None:
    html = "<p>" + '{{#if city = "Bonn am Rhein"}}word{{else}}other words{{/if}} {{name|a dear friend}} ' * 20
    text = text_of_html(html)
    assert text.count('{{#if city = "Bonn am Rhein"}}') == text.count("{{name|a dear friend}}") == 20
    assert text.count("\n") > 10


HOSTILE = {
    "tags without an end": "<a " * 100_000,
    "addresses without an end": "<a href='" * 100_000,
    "comments without an end": "<!--" * 100_000,
    "elements in one another": "<div>" * 100_000,
    "ends of nothing": "<p></b>" * 50_000,
    "items beyond many elements": "<ul>" + "<b>" * 50_000 + "<li></li>" * 50_000,
    "quotations in one another": "<blockquote>x" * 30_000,
    "conditions and paragraphs": "{{#if a}}<p>" * 50_000,
    "conditions and items": "{{#if a}}<li>" * 50_000,
    "braces": "{{" * 200_000,
    "references": "&#" + "9" * 500_000,
    "attributes": "<p " + "x=y " * 100_000,
    "spaces": "<pre>" + " " * 500_000,
    "one word": "<ul>" * 10_000 + "x" * 500_000,
    "links around blocks": "<a href='https://a.example/'><p>x" * 10_000,
    "styles": "<p style='" + "display " * 50_000 + "'>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_html_is_read_in_linear_time(name: str) -> None:
    began = time.process_time()
    assert len(text_of_html(HOSTILE[name])) < 1_000_000
    assert time.process_time() - began < 5, "some tenths of a second; with the square of the length it would be minutes"


_MARKUP = """
<p> </p> <ul> <li> </ul> <table> <tr> <td> </table> <br> <hr> <pre> <h1> </h1> <blockquote> </blockquote> <b> </b> <a>
<a·href=https://a.example> </a> <div·hidden> </div> <img·alt=x> <!-- --> <script> </script> <· > & &amp; &nbsp; x é ·
{{name}} {{#if·a}} {{else}} {{/if}} {{ }}
"""
_PIECES = st.sampled_from([piece.replace("·", " ") for piece in _MARKUP.split()])


@settings(deadline=None)
@given(st.lists(_PIECES, max_size=30).map("".join))
def test_any_html_becomes_text(html: str) -> None:
    text = text_of_html(html)
    assert text == "" or text.endswith("\n")
    assert "\r" not in text and "\xa0" not in text
    assert not any(line.endswith(" ") for line in text.split("\n"))
    if "<!--" not in html and "hidden" not in html and "<script" not in html:
        if text:
            assert text.count("{{/if}}") == html.count("{{/if}}")
            assert text.count("{{#if a}}") == html.count("{{#if a}}")
        if text and not parse([html]).faults:
            assert parse([text]).faults == ()
