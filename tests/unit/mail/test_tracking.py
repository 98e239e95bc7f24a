"""Links and open images in texts, and the copies that come of them."""

from __future__ import annotations

import email
import email.policy
import html
import re
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.tokens import Purpose
from shared.core.tracking import Click, Reader, TrackedLinks
from shared.mail.html_links import html_links
from shared.mail.segments import Wire, compile_message
from shared.mail.tracking import ReaderSlot, Tracking

BASE = "https://lists.example.org/web"
LINKS = TrackedLinks(b"a secret of the tests", (), BASE)
FULL = Tracking(LINKS, 7, is_anonymous=False)
PLAIN = Tracking(LINKS, 7, is_anonymous=False, includes_plain_text=True)
ANONYMOUS = Tracking(LINKS, 7, is_anonymous=True)
ANN = Reader(7, 11)
_TRACKED = re.compile(re.escape(BASE) + r"/c/(\w+)/([\w-]+)")
_IMAGE = re.compile(r'<img src="' + re.escape(BASE) + r'/o/(\w+)\.gif"')


def filled(text: str, tracking: Tracking = FULL, *, is_html: bool = True, has_image: bool = False) -> str:
    values = tracking.values(11, (Purpose.CLICK, Purpose.OPEN))
    pieces = tracking.pieces(text, is_html=is_html, has_image=has_image)
    return "".join(
        piece.fill(values).decode().removesuffix("=\r\n") if isinstance(piece, ReaderSlot) else piece
        for piece in pieces
    )


def followed(text: str) -> str:
    """`text` with each tracked link as it leads in the end."""

    def target(found: re.Match[str]) -> str:
        click = LINKS.read_click(found[1], found[2])
        assert click is not None
        assert click.reader == ANN
        return f"[{click.url}]"

    return _TRACKED.sub(target, text)


@pytest.mark.parametrize(
    ("written", "tracked"),
    [
        ('<a href="https://a.example/x">x</a>', '<a href="[https://a.example/x]">x</a>'),
        ("<A class=b HREF='https://a.example/?a=1&amp;b=2'>", "<A class=b HREF='[https://a.example/?a=1&b=2]'>"),
        ("<a href=https://a.example/x>", "<a href=[https://a.example/x]>"),
        ('<a\n\thref = "https://a.example/"\n>', '<a\n\thref = "[https://a.example/]"\n>'),
        ('<area href="https://a.example/">', '<area href="[https://a.example/]">'),
        ('<a title="a > b" href="https://a.example/">', '<a title="a > b" href="[https://a.example/]">'),
    ],
)
def test_a_link_of_html_leads_by_way_of_us(written: str, tracked: str) -> None:
    assert followed(filled(written)) == tracked


@pytest.mark.parametrize(
    "text",
    [
        '<a href="mailto:ann@example.com">',
        '<a href="#top">',
        '<a href="/relative">',
        '<a href="">',
        "<a href>",
        '<img src="cid:image1"><img src="https://a.example/i.png">',
        '<link href="https://a.example/style.css">',
        f'<a href="{BASE}/leave/abc">',
        f'<a href="{BASE.upper()}/c/abc/def">',
        f'<a href="{BASE}">',
        '<a href="https://a.example/{{url:email}}">',
        '<a href="https://ann@a.example/">',
        '<!-- <a href="https://a.example/"> -->',
        '<style><a href="https://a.example/"></style>',
        "<script>\"<a href='https://a.example/'>\"</script>",
        "<img alt='<a href=\"https://a.example/\">'>",
        "https://a.example/",
        '<a href="https://a.example/',
        '<abbr href="https://a.example/">',
    ],
)
def test_what_is_no_web_link_of_html_stays_as_it_is(text: str) -> None:
    assert FULL.pieces(text, is_html=True, has_image=False) == [text]


@pytest.mark.parametrize(
    ("written", "tracked"),
    [
        ("See https://a.example/x.", "See [https://a.example/x]."),
        ("<https://a.example/>, http://b.example", "<[https://a.example/]>, [http://b.example]"),
        ("(https://a.example/x) https://a.example/x_(y)", "([https://a.example/x]) [https://a.example/x_(y)]"),
    ],
)
def test_a_link_of_plain_text_is_tracked_when_the_list_says_so(written: str, tracked: str) -> None:
    assert followed(filled(written, PLAIN, is_html=False)) == tracked
    assert FULL.pieces(written, is_html=False, has_image=True) == [written]


def test_an_html_text_has_one_open_image_at_its_end() -> None:
    text = filled("<body><p>Hello</p></body></html>", has_image=True)
    (token,) = _IMAGE.findall(text)
    assert LINKS.read_open(token) == ANN
    assert text.endswith("></body></html>")
    assert filled("<p>Hello", has_image=True).startswith("<p>Hello<img")


def test_anonymous_copies_are_all_the_same() -> None:
    (text,) = ANONYMOUS.pieces('<a href="https://a.example/">x</a>', is_html=True, has_image=True)
    assert isinstance(text, str)
    ((token, target),) = _TRACKED.findall(text)
    assert LINKS.read_click(token, target) == Click(Reader(7, None), "https://a.example/")
    assert LINKS.read_open(_IMAGE.findall(text)[0]) == Reader(7, None)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs[:1] if tag == "a" and name == "href" and value]


_words = st.sampled_from(
    ["a", " ", "\n", "é", "&amp;", "<b>", "</b>", "<br/>", ".", "=", "{{name}}", "x" * 80, '"', "'"]
)
_urls = st.sampled_from(
    ["https://a.example/", "http://b.example/?x=1&y=2", "mailto:c@d.example", "#e", "https://é.example/"]
)
_anchors = st.builds(
    lambda url, quote: f"<a href={quote}{html.escape(url)}{quote}>", _urls, st.sampled_from(['"', "'"])
)
_texts = st.lists(_words | _anchors, max_size=30).map("".join)


@given(_texts)
def test_the_links_that_are_found_are_those_a_parser_finds(text: str) -> None:
    parser = _Links()
    parser.feed(text)
    parser.close()
    assert [url for _, _, url in html_links(text)] == parser.found


@given(_texts, st.booleans())
def test_tracking_changes_nothing_but_where_links_lead(text: str, has_image: bool) -> None:
    read = _TRACKED.sub(lambda found: html.escape(LINKS.read_click(found[1], found[2]).url), filled(text))  # type: ignore[union-attr]
    assert html.unescape(read) == html.unescape(text)
    with_image = filled(text, has_image=has_image)
    assert len(_IMAGE.findall(with_image)) == has_image


@given(st.text(alphabet="<>a\"'=/! -hrefsctyl\n", max_size=200))
def test_any_text_is_read(text: str) -> None:
    for start, end, _ in html_links(text):
        assert 0 <= start <= end <= len(text)


@pytest.mark.parametrize("piece", ["<a ", '<a href="', "<a href='", "<!--", "<script>", "<", "</a", "<a =", "<a\n"])
def test_a_megabyte_of_markup_takes_one_pass(piece: str) -> None:
    """It would take hours if each piece looked through all that follow."""
    assert len(list(html_links(piece * (1_000_000 // len(piece))))) <= 500_000


def _message(encoding: str, subtype: str = "html") -> EmailMessage:
    message = EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = "News"
    body = (
        'Grüße. Look: <a href="https://a.example/?a=1&amp;b=2">here</a> or <a href="mailto:x@y.example">write</a> ' * 3
    )
    message.set_content(f"Text: https://a.example/t {body}", cte=encoding)
    message.add_alternative(f"<html><body>\n.\n{body}\n</body></html>", subtype=subtype, cte=encoding)
    message.add_attachment(b'<a href="https://a.example/">', maintype="text", subtype="html", filename="a.html")
    return message


def _texts_of(message: EmailMessage) -> dict[str, str]:
    return {
        part.get_content_type(): part.get_content().replace("\r\n", "\n")
        for part in message.walk()
        if isinstance(part, EmailMessage) and part.get_content_maintype() == "text" and not part.is_attachment()
    }


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit"])
@pytest.mark.parametrize("is_personal", [False, True])
def test_a_copy_is_well_formed_in_any_encoding(encoding: str, is_personal: bool) -> None:
    message = _message(encoding)
    wire = Wire(compile_message(message.as_bytes(), is_personal=is_personal, tracking=FULL))
    assert wire.has_slots
    assert not wire.has_merge_fields
    segments = (
        b"".join(wire.segments(wire.fill(FULL.values(11, wire.reader_purposes))))
        .removesuffix(b".\r\n")
        .replace(b"\r\n..", b"\r\n.")
    )
    copy = email.message_from_bytes(segments, policy=email.policy.SMTP)
    assert isinstance(copy, EmailMessage)
    assert not [line for line in segments.split(b"\r\n") if len(line) > 998]
    texts, originals = _texts_of(copy), _texts_of(message)
    assert texts["text/plain"] == originals["text/plain"]
    read = followed(texts["text/html"])
    assert read.count("[https://a.example/?a=1&b=2]") == 3
    assert read.count('<a href="mailto:x@y.example">') == 3
    (token,) = _IMAGE.findall(read)
    assert LINKS.read_open(token) == ANN
    without_image = re.sub(r"<img[^>]*>", "", read).replace(
        "[https://a.example/?a=1&b=2]", "https://a.example/?a=1&amp;b=2"
    )
    assert without_image == originals["text/html"]
    (attachment,) = copy.iter_attachments()
    assert attachment.get_payload(decode=True) == b'<a href="https://a.example/">'


def test_a_tracked_copy_holds_nothing_readable_of_its_recipient() -> None:
    token = LINKS.token(Purpose.CLICK, Reader(123456, 654321))
    assert "123456" not in token
    assert "654321" not in token


def test_without_tracking_nothing_is_changed() -> None:
    content = _message("base64").as_bytes()
    (body,) = compile_message(content, is_personal=False).body
    assert isinstance(body, bytes)
    assert content.endswith(body)
