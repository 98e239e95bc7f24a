from __future__ import annotations

from shared.core.preflight.draft import Texts
from shared.core.preflight.finding import Place
from shared.mail.newsletter_reading import MOST, read


def html(text: str) -> Texts:
    return read("", "", "", text)


def test_links_images_and_what_would_be_run_have_their_places() -> None:
    texts = html(
        '<p>\n<a class="x" href="https://example.org/?a=1&amp;b=2">a</a>\n'
        '  <img src="cid:logo"><img alt="" src=a.gif>\n'
        "<body onload='go()'><form action=/send>\n<a name=x>no link</a><!-- <a href=hidden> -->"
    )
    assert [(link.place, link.address) for link in texts.links] == [
        (Place("html", 2, 20), "https://example.org/?a=1&b=2")
    ]
    assert [(image.place, image.address, image.has_alt) for image in texts.images] == [
        (Place("html", 3, 13), "cid:logo", False),
        (Place("html", 3, 39), "a.gif", True),
    ]
    assert [(each.name, each.is_attribute) for each in texts.elements] == [("onload", True), ("form", False)]
    assert [each.address for each in texts.addresses] == [
        "https://example.org/?a=1&b=2",
        "cid:logo",
        "a.gif",
        "/send",
    ]


def test_a_scheme_hidden_in_references_is_seen() -> None:
    texts = html('<a href="&#106;ava&Tab;script:alert(1)">x</a>')
    assert [each.address for each in texts.addresses] == ["java\tscript:alert(1)"]


def test_faults_of_the_language_are_told_with_text_line_and_column() -> None:
    texts = read("{{#if city}}", "{{a b", "One\n{{/if}}", "<p>{{city|Bonn}}</p>")
    assert [fault.place for fault in texts.faults] == [
        Place("subject", 1, 1),
        Place("preheader", 1, 1),
        Place("text", 2, 1),
    ]
    assert texts.unknown_fields == ()


def test_fields_that_nobody_has_are_told_only_when_it_is_known_what_there_is() -> None:
    written = "{{city}} {{email}} {{cty}} {{cty|here}}\n{{#if cty}}x{{/if}}"
    assert read("", "", written, "").unknown_fields == ()
    unknown = read("", "", written, "", known_fields={"city"}).unknown_fields
    assert [(each.place, each.name, each.has_default) for each in unknown] == [
        (Place("text", 1, 20), "cty", False),
        (Place("text", 1, 28), "cty", True),
        (Place("text", 2, 1), "cty", True),
    ]


def test_the_field_for_leaving_is_seen_where_it_stands() -> None:
    assert read("", "", "{{ unsubscribe_url }}", "{{unsubscribe}}").with_unsubscribe_field == {"text"}


def test_hostile_html_is_read_in_linear_time_and_told_in_bounds() -> None:
    length = 300_000
    for piece in ("<", "<a href=", "<a href=x>\n", "<!--", "<script>", "{{", "<img ", "<body", "&#", "</", "<a b='"):
        texts = html(piece * (length // len(piece)))
        assert len(texts.links) <= MOST
        assert len(texts.faults) <= 100
