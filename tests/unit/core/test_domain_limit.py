"""Which limit a domain is under: the most specific that names it."""

from __future__ import annotations

import pytest

from shared.core.domain_limit import DomainLimits, InvalidPattern, normalised


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Example.COM", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("MX:*.Example.net", "mx:*.example.net"),
        ("mx:mx1.example.net", "mx:mx1.example.net"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_a_pattern_has_one_spelling(written: str, kept: str) -> None:
    assert normalised(written) == kept


@pytest.mark.parametrize("written", ["", "*", "*.", "mx:", "a*.example.com", "*.*.example.com", "192.0.2.1", "a b"])
def test_what_is_no_pattern_is_refused(written: str) -> None:
    with pytest.raises(InvalidPattern):
        normalised(written)


def test_the_domain_itself_goes_before_its_longest_suffix_and_that_before_its_mail_exchanger() -> None:
    limits = DomainLimits(["a.b.example.com", "*.example.com", "*.b.example.com", "mx:*.provider.net"])
    hosts = ["mx1.provider.net"]
    assert limits.of("a.b.example.com", hosts) == "a.b.example.com"
    assert limits.of("c.b.example.com", hosts) == "*.b.example.com"
    assert limits.of("x.y.example.com", hosts) == "*.example.com"
    assert limits.of("example.com", hosts) == "mx:*.provider.net", "a suffix names what is below it"
    assert limits.of("other.test", hosts) == "mx:*.provider.net"
    assert limits.of("other.test", ["mx.other.test"]) == ""


def test_the_first_mail_exchanger_that_a_pattern_names_decides() -> None:
    limits = DomainLimits(["mx:*.one.net", "mx:mx.two.net"])
    assert limits.of("a.test", ["mx.own.test", "mx.two.net.", "mx.one.net"]) == "mx:mx.two.net"


def test_without_patterns_nothing_is_limited() -> None:
    assert not DomainLimits()
    assert DomainLimits().of("example.com", ["mx.example.com"]) == ""


@pytest.mark.parametrize(
    ("domain", "carried", "right"),
    [
        ("example.com", "example.com", None),
        ("example.com", "", "example.com"),
        ("example.com", "mx:*.provider.net", "example.com"),
        ("other.test", "mx:*.provider.net", None),
        ("other.test", "mx:*.lifted.net", ""),
        ("other.test", "example.com", ""),
        ("other.test", "", None),
    ],
)
def test_a_recipient_taken_for_another_limit_is_told_the_right_one(
    domain: str, carried: str, right: str | None
) -> None:
    assert DomainLimits(["example.com", "mx:*.provider.net"]).correction(domain, carried) == right
