from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.core.dmarc import PublishedPolicy
from shared.core.preflight import faults_of, judge
from shared.core.preflight.draft import (
    Address,
    Alignment,
    Draft,
    Element,
    Fault,
    Image,
    Sender,
    Texts,
    UnknownField,
)
from shared.core.preflight.finding import Place, Severity

HERE = Place("html", 3, 7)
TEXTS = Texts(
    "Hello", "", "Hello. {{unsubscribe_url}}", "<p>Hello</p>", with_unsubscribe_field=frozenset({"text", "html"})
)
SENDER = Sender("example.org", "example.org", Alignment.ALIGNED, PublishedPolicy.NONE, has_signing_key=True)
GOOD = Draft(TEXTS, SENDER, frozenset(), html_bytes=12, message_bytes=5000, has_pages=True, has_audience=True)


def with_texts(**changes: Any) -> Draft:
    return replace(GOOD, texts=replace(TEXTS, **changes))


def with_sender(**changes: Any) -> Draft:
    return replace(GOOD, sender=replace(SENDER, **changes))


def codes(draft: Draft) -> list[tuple[str, str]]:
    return [(finding.severity.value, finding.code) for finding in judge(draft)]


def test_nothing_is_said_of_a_good_one() -> None:
    assert judge(GOOD) == []


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        (with_texts(subject=" "), ("refuse", "no_subject")),
        (with_texts(text="", html=" \n"), ("refuse", "no_text")),
        (with_texts(text=""), ("warn", "text_is_made")),
        (with_texts(html="", preheader="Soon"), ("warn", "preheader_not_shown")),
        (with_texts(faults=(Fault(HERE, "the condition has no {{/if}}"),)), ("refuse", "syntax")),
        (with_texts(unknown_fields=(UnknownField(HERE, "cty", False, "no cty"),)), ("refuse", "unknown_field")),
        (with_texts(unknown_fields=(UnknownField(HERE, "cty", True, "no cty"),)), ("warn", "field_without_values")),
        (with_texts(elements=(Element(HERE, "script", False),)), ("refuse", "script")),
        (with_texts(elements=(Element(HERE, "onclick", True),)), ("refuse", "script")),
        (with_texts(elements=(Element(HERE, "form", False),)), ("warn", "element_not_shown")),
        (with_texts(addresses=(Address(HERE, " Java\tscript:alert(1)"),)), ("refuse", "script")),
        (with_texts(addresses=(Address(HERE, "data:text/html,x"),)), ("refuse", "script")),
        (with_texts(addresses=(Address(HERE, "http://example.org"),)), ("warn", "http_link")),
        (with_texts(images=(Image(HERE, "https://example.org/a.gif", False),)), ("warn", "image_without_alt")),
        (with_texts(images=(Image(HERE, "cid:logo", True),)), ("warn", "image_missing")),
        (replace(GOOD, content_ids=frozenset({"logo"})), ("warn", "image_not_shown")),
        (with_sender(alignment=Alignment.UNKNOWN), ("warn", "alignment_unknown")),
        (with_sender(alignment=Alignment.UNALIGNED), ("warn", "unaligned_from")),
        (
            with_sender(alignment=Alignment.UNALIGNED, policy=PublishedPolicy.QUARANTINE),
            ("refuse", "unaligned_from"),
        ),
        (with_sender(alignment=Alignment.UNALIGNED, policy=PublishedPolicy.REJECT), ("refuse", "unaligned_from")),
        (with_sender(has_signing_key=False), ("warn", "no_dkim_key")),
        (replace(GOOD, message_bytes=26_214_401), ("refuse", "too_large")),
        (replace(GOOD, html_bytes=104_449), ("warn", "html_is_clipped")),
        (with_texts(with_unsubscribe_field=frozenset({"text"})), ("warn", "no_unsubscribe_link")),
        (replace(GOOD, has_pages=False), ("refuse", "no_unsubscribe_page")),
        (replace(GOOD, has_audience=False), ("warn", "no_audience")),
    ],
)
def test_each_rule_says_what_is_wrong(draft: Draft, expected: tuple[str, str]) -> None:
    assert codes(draft) == [expected]
    (finding,) = judge(draft)
    assert finding.mend.endswith(".")


def test_at_the_limits_nothing_is_said() -> None:
    at_limits = replace(GOOD, message_bytes=26_214_400, html_bytes=104_448, has_audience=None)
    assert judge(at_limits) == []


def test_without_pages_the_authors_own_link_will_do_and_without_any_nothing_will() -> None:
    no_pages = replace(with_texts(with_unsubscribe_field=frozenset()), has_pages=False)
    assert codes(no_pages) == [("refuse", "no_unsubscribe_link")]
    own = Address(HERE, "https://example.org/unsubscribe?u={{url:email}}")
    assert judge(replace(no_pages, texts=replace(no_pages.texts, links=(own,)))) == []
    with_pages = replace(no_pages, has_pages=True, texts=replace(no_pages.texts, links=(own,)))
    assert [(finding.code, finding.place.field) for finding in judge(with_pages)] == [("no_unsubscribe_link", "text")]


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org",
        "https://example.org:8443/a/b?c=d&e=f#g",
        "https://example.org/{{city}}?x={{url:email|nobody}}",
        "https://user@example.org/",
        "https://[2001:db8::1]/",
        "https://bücher.example/straße",
        "mailto:ann@example.org?subject=Hi there",
        "tel:+49228123",
        "#top",
        "{{unsubscribe_url}}",
        " {{ unsubscribe_url }} ",
    ],
)
def test_links_that_lead_somewhere_are_left_alone(address: str) -> None:
    assert judge(with_texts(links=(Address(HERE, address),))) == []


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "leads nowhere"),
        ("#", "leads nowhere"),
        ("www.example.org", "no scheme"),
        ("/about", "no scheme"),
        ("https//example.org", "no scheme"),
        ("https:/example.org", "names no host"),
        ("https:///about", "names no host"),
        ("https://localhost", "names no host"),
        ("https://https://example.org", "names no host"),
        ("https://example.org:port/", "names no host"),
        ("https://[::1/", "names no host"),
        ("https://example.org/a b", "%20"),
        ("https://example.org/\\", "%5C"),
        ("mailto:", "do not follow"),
        ("gopher://example.org", "do not follow"),
        ("file:///etc/passwd", "do not follow"),
        ("{{website}}", "a member's value"),
    ],
)
def test_broken_links_are_told_with_what_is_wrong(address: str, says: str) -> None:
    (finding,) = judge(with_texts(links=(Address(HERE, address),)))
    assert (finding.code, finding.severity, finding.place) == ("broken_link", Severity.WARN, HERE)
    assert says in finding.mend


def test_what_refuses_comes_first_and_links_are_told_in_bounds() -> None:
    broken = tuple(Address(Place("html", line, 1), "") for line in range(1, 1000))
    found = judge(with_texts(links=broken, subject="", elements=(Element(HERE, "script", False),)))
    assert [finding.code for finding in found[:3]] == ["script", "no_subject", "broken_link"]
    assert len(found) == 52


def test_what_can_never_be_sent_is_known_from_the_texts_alone() -> None:
    texts = replace(TEXTS, subject="", elements=(Element(HERE, "form", False), Element(HERE, "onload", True)))
    assert [(finding.code, finding.place) for finding in faults_of(texts)] == [("script", HERE)]
