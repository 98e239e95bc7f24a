"""SPF by what it means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.dns import spf
from shared.core.dns.answers import Answers, NotAskedYet, Question, Unanswered
from shared.core.dns.record import Purpose, RecordType
from shared.core.dns.spf_macros import expanded
from tests.unit.core.dns.zone import Zone, judged, record

PLANNED = record("l.test", RecordType.TXT, "v=spf1 ip4:192.0.2.0/31 ip6:2001:db8::1 ~all", Purpose.SENDER_POLICY)
OURS = "ip4:192.0.2.0/24 ip6:2001:db8::/32"
TEN = " ".join(f"include:i{number}.test" for number in range(10))
INCLUDED: Zone = {f"i{number}.test TXT": ["v=spf1 -all"] for number in range(10)}


@pytest.mark.parametrize(
    "text",
    [
        "v=spf1 ip4:192.0.2.0/31 ip6:2001:db8::1 ~all",
        f"v=spf1 {OURS} -all",
        f"V=SPF1  include:_spf.provider.test  {OURS} ?all exp=why.l.test",
        "v=spf1 a:nodes.test a:more.test ip6:2001:db8::1 -all",
        "v=spf1 mx/24//32 -all",
        "v=spf1 -ip4:198.51.100.1 include:ours.test -all",
        "v=spf1 redirect=ours.test",
        f"v=spf1 exists:%{{ir}}.list.test {OURS}",
        "v=spf1 include:%{d1}.ours.test -all",
    ],
)
def test_a_record_that_covers_our_addresses_is_right(text: str) -> None:
    zone: Zone = {
        "l.test TXT": ["google-site-verification=1", text],
        "l.test MX": ["10 nodes.test"],
        "nodes.test A": ["192.0.2.0"],
        "more.test A": ["192.0.2.1", "192.0.2.7"],
        "nodes.test AAAA": ["2001:db8:1::1"],
        "_spf.provider.test TXT": ["v=spf1 ip4:203.0.113.0/24 ~all"],
        "ours.test TXT": [f"v=spf1 {OURS} -all"],
        "test.ours.test TXT": [f"v=spf1 {OURS} -all"],
    }
    assert [str(finding.state) for finding in judged([PLANNED], zone)] == ["right"]


@pytest.mark.parametrize(
    ("texts", "mend"),
    [
        (
            ["v=spf1 include:i1.test -all"],
            'to ( "v=spf1 ip4:192.0.2.0/31 ip6:2001:db8::1 include:i1.test -all" )',
        ),
        ([f"v=spf1 -ip4:192.0.2.1 {OURS} -all"], 'to ( "v=spf1 ip4:192.0.2.0/31 -ip4'),
        (["v=spf1 ip4:192.0.2.0/31 -all"], 'to ( "v=spf1 ip6:2001:db8::1 ip4:192.0.2.0/31 -all" )'),
        ([f"v=spf1 {OURS} -all", "v=spf1 -all"], "Make one of the 2 SPF records"),
        ([f"v=spf1 {OURS} +all"], "lets everybody"),
        ([f"v=spf1 {OURS} all"], "lets everybody"),
        ([f"v=spf1 {TEN} include:i1.test {OURS} -all"], "more than 10 times"),
        ([f"v=spf1 {OURS} {TEN} a -all"], "more than 10 times"),
        ([f"v=spf1 {OURS} include:nowhere.test -all"], "nowhere.test, which has no SPF record"),
        ([f"v=spf1 a:x.test a:y.test exists:z.test {OURS} -all"], "more than 2 names that have no such record"),
        (["v=spf1 include:l.test -all"], "in a circle"),
        ([f"v=spf1 {OURS} ipv4:1.2.3.4 -all"], "the term ipv4:1.2.3.4, which is none"),
        (["v=spf1" + " ip4:192.0.2.0/24" * 300], "longer than 5,000 characters"),
        (["v=spf1 ip4:192.0.2.300 -all"], "192.0.2.300, which is no network"),
    ],
)
def test_a_record_that_does_not_is_wrong_and_the_mend_says_how(texts: list[str], mend: str) -> None:
    (finding,) = judged([PLANNED], {"l.test TXT": list(texts), **INCLUDED})
    assert (str(finding.state), finding.found) == ("wrong", tuple(texts))
    assert mend in (finding.mend or "")


def test_ten_lookups_are_not_too_many() -> None:
    assert [str(f.state) for f in judged([PLANNED], {"l.test TXT": [f"v=spf1 {TEN} {OURS}"], **INCLUDED})] == ["right"]


@pytest.mark.parametrize("texts", [[], ["v=spf10 -all"], ["spf2.0/pra -all"]])
def test_without_a_record_it_is_missing(texts: list[str]) -> None:
    assert [str(finding.state) for finding in judged([PLANNED], {"l.test TXT": list(texts)})] == ["missing"]


@pytest.mark.parametrize(
    ("text", "filled"),
    [  # RFC 7208 §7.4
        ("%{d4}", "email.example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{l}.%{o}", "postmaster.email.example.com"),
        ("a%%b%_c%-d", "a%b c%20d"),
    ],
)
def test_macros_are_filled_in(text: str, filled: str) -> None:
    assert expanded(text, "email.example.com", "192.0.2.3") == filled


def test_a_macro_writes_an_ipv6_address_digit_by_digit() -> None:
    assert expanded("%{ir}.x", "d.test", "2001:db8::cb01") == "1.0.b.c" + ".0" * 20 + ".8.b.d.0.1.0.0.2.x"


TERMS = st.sampled_from(
    ["a", "mx", "ptr", "all", "-all", "include:a.test", "include:b.test", "redirect=a.test", "exists:%{ir}.a.test",
     "ip4:1.2.3.4/33", "ip6:::/0", "a:/24", "mx//999", "include:", "%{", "x=%{q}", "a:b/c/24//64", "=", ":", "é"]
)  # fmt: skip


@given(st.lists(st.lists(TERMS, max_size=14), min_size=3, max_size=3), st.lists(st.text(), max_size=2))
def test_whatever_others_publish_reading_it_ends(records: list[list[str]], others: list[str]) -> None:
    zone = {
        name: [" ".join(["v=spf1", *terms])]
        for name, terms in zip(("l.test", "a.test", "b.test"), records, strict=True)
    }
    known: dict[Question, tuple[str, ...]] = {}
    for _ in range(200):
        try:
            spf.passes("l.test", "192.0.2.1", Answers(known))
            break
        except NotAskedYet as needed:
            for question in needed.questions:
                known[question] = tuple(zone.get(question.name, others)) if question.type is RecordType.TXT else ()
        except (spf.SpfFault, Unanswered):
            break
    else:
        raise AssertionError("still asking")
