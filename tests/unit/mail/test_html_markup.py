"""Tags and texts of HTML, told apart."""

from __future__ import annotations

import pytest

from shared.mail.html_links import html_links
from shared.mail.html_markup import EndTag, StartTag, html_markup, unescaped


def told(html: str) -> list[str]:
    return [
        f"<{piece.name}>" if isinstance(piece, StartTag) else f"</{piece.name}>" if isinstance(piece, EndTag) else piece
        for piece in html_markup(html)
    ]


@pytest.mark.parametrize(
    ("html", "pieces"),
    [
        ("", []),
        ("a < b & c <3", ["a < b & c <3"]),
        ("a<B>b</B >c", ["a", "<b>", "b", "</b>", "c"]),
        ("<br/><br />", ["<br>", "<br>"]),
        ("a<!-- <b> -->b<!doctype html><?x?></>c", ["a", "b", "c"]),
        ("<script>a<b></script >b", ["<script>", "</script>", "b"]),
        ("a<script>b", ["a", "<script>"]),
        ("a<b title='>'>c", ["a", "<b>", "c"]),
        ("a<b title='>c", ["a"]),
        ("a<!-- b", ["a"]),
        ("a</b", ["a"]),
    ],
)
def test_tags_and_texts_are_told_apart(html: str, pieces: list[str]) -> None:
    assert told(html) == pieces


def test_attributes_are_told_with_their_values_and_places() -> None:
    html = "<A HREF='x&amp;y' hidden title=\"a\" title=b>"
    (tag,) = html_markup(html)
    assert isinstance(tag, StartTag)
    assert (tag.value("href"), tag.value("title"), tag.value("hidden")) == ("x&y", "a", "")
    assert tag.attribute_names == ("href", "hidden", "title", "title")
    assert [html[each.start : each.end] for each in tag.attributes] == ["x&amp;y", "a", "b"]


def test_a_reference_that_means_no_character_is_one() -> None:
    assert unescaped("&#" + "9" * 5000 + ";&#65;&#x" + "9" * 5000 + ";&euro;") == "\ufffdA\ufffd€"
    assert [url for _, _, url in html_links(f"<a href='https://a.example/&#{'9' * 5000}'>")] == [
        "https://a.example/\ufffd"
    ]
