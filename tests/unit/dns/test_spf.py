from __future__ import annotations

import ipaddress

import pytest

from shared.core.spf import Question, SpfResult
from shared.dns.spf import check_host
from tests.fakes.dns import FakeResolver


async def result(records: dict[tuple[str, str], list[str]], client: str = "192.0.2.1", local: str = "ann") -> SpfResult:
    resolver = FakeResolver(records)
    question = Question(ipaddress.ip_address(client), local, "example.org", "mail.example.org")
    return await check_host(resolver, question, "example.org")  # type: ignore[arg-type]


async def of(record: str, client: str = "192.0.2.1", /, **others: list[str]) -> SpfResult:
    """Of one record; others as `name_TYPE`, with `__` for a dot."""
    records = {("example.org", "TXT"): [record]}
    for name, texts in others.items():
        host, _, kind = name.rpartition("_")
        records[host.replace("__", "."), kind] = texts
    return await result(records, client)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 -all", SpfResult.FAIL),
        ("v=spf1 ~all", SpfResult.SOFTFAIL),
        ("v=spf1 ?all", SpfResult.NEUTRAL),
        ("v=spf1", SpfResult.NEUTRAL),
        ("V=SPF1 IP4:192.0.2.0/24 -ALL", SpfResult.PASS),
        ("v=spf1 ip4:192.0.2.1 -all", SpfResult.PASS),
        ("v=spf1 -ip4:192.0.2.1 +all", SpfResult.FAIL),
        ("v=spf1 ip4:192.0.3.0/24 ip6:2001:db8::/32 -all", SpfResult.FAIL),
        ("v=spf1 unknown=x ip4:192.0.2.1", SpfResult.PASS),
        ("v=spf10 +all", SpfResult.NONE),
        ("v=spf1 ip4:192.0.2.300 +all", SpfResult.PERMERROR),
        ("v=spf1 ip4:192.0.2.1/33 +all", SpfResult.PERMERROR),
        ("v=spf1 ip4:192.0.2.1/024 +all", SpfResult.PERMERROR),
        ("v=spf1 nonsense +all", SpfResult.PERMERROR),
        ("v=spf1 all:example.org", SpfResult.PERMERROR),
        ("v=spf1 include: +all", SpfResult.PERMERROR),
        ("v=spf1 a/33 +all", SpfResult.PERMERROR),
        ("v=spf1 exists:%{z}.example.org +all", SpfResult.PERMERROR),
        ("v=spf1 redirect=a.test redirect=b.test", SpfResult.PERMERROR),
        ("v=spf1 +all é", SpfResult.PERMERROR),
    ],
)
async def test_a_record_is_read_by_the_rules(record: str, expected: SpfResult) -> None:
    assert await of(record) is expected


async def test_a_domain_without_a_record_says_nothing() -> None:
    assert await result({}) is SpfResult.NONE
    assert await of("google-site-verification=x") is SpfResult.NONE


async def test_two_records_are_an_error() -> None:
    assert await result({("example.org", "TXT"): ["v=spf1 +all", "v=spf1 -all"]}) is SpfResult.PERMERROR


async def test_the_hosts_of_a_and_mx_may_send() -> None:
    assert await of("v=spf1 a -all", example__org_A=["192.0.2.1"]) is SpfResult.PASS
    assert await of("v=spf1 a:web.test/28 -all", web__test_A=["192.0.2.9"]) is SpfResult.PASS
    assert await of("v=spf1 a:web.test/29 -all", web__test_A=["192.0.2.9"]) is SpfResult.FAIL
    host = {"mx__test_A": ["192.0.2.1"], "example__org_MX": ["10 mx.test"]}
    assert await of("v=spf1 mx -all", **host) is SpfResult.PASS
    assert await of("v=spf1 a//64 -all", "2001:db8::1", example__org_AAAA=["2001:db8::2"]) is SpfResult.PASS


async def test_an_included_record_matches_when_it_passes() -> None:
    assert await of("v=spf1 include:in.test -all", in__test_TXT=["v=spf1 ip4:192.0.2.1 -all"]) is SpfResult.PASS
    assert await of("v=spf1 include:in.test ?all", in__test_TXT=["v=spf1 -all"]) is SpfResult.NEUTRAL
    assert await of("v=spf1 include:none.test +all", none__test_A=["192.0.2.1"]) is SpfResult.PERMERROR
    assert await of("v=spf1 redirect=re.test", re__test_TXT=["v=spf1 +all"]) is SpfResult.PASS
    assert await of("v=spf1 redirect=none.test") is SpfResult.PERMERROR


async def test_macros_are_filled_in() -> None:
    """As in RFC 7208 §7.4: `r` reverses, and then the last one counts."""
    records = {
        ("example.org", "TXT"): ["v=spf1 exists:%{ir}.%{v}.%{l1r-}.%{d2}.spf.test -all"],
        ("1.2.0.192.in-addr.strong.example.org.spf.test", "A"): ["127.0.0.2"],
    }
    assert await result(records, local="strong-bad") is SpfResult.PASS
    assert await result(records, local="bad-strong") is SpfResult.FAIL


async def test_a_name_of_the_client_counts_when_it_leads_back() -> None:
    named = {"1__2__0__192__in-addr__arpa_PTR": ["mail.example.org"]}
    assert await of("v=spf1 ptr -all", **named, mail__example__org_A=["192.0.2.1"]) is SpfResult.PASS
    assert await of("v=spf1 ptr -all", **named, mail__example__org_A=["192.0.2.2"]) is SpfResult.FAIL


async def test_silence_is_an_error_of_the_moment() -> None:
    assert await of("v=spf1 a:slow.test +all", slow__test_A=["FAILS"]) is SpfResult.TEMPERROR
    assert await result({("example.org", "TXT"): ["FAILS"]}) is SpfResult.TEMPERROR


async def test_a_record_cannot_make_us_ask_for_ever() -> None:
    resolver = FakeResolver({("example.org", "TXT"): ["v=spf1 include:example.org"]})
    question = Question(ipaddress.ip_address("192.0.2.1"), "a", "example.org", "h")
    assert await check_host(resolver, question, "example.org") is SpfResult.PERMERROR  # type: ignore[arg-type]
    assert len(resolver.questions) == 11
    void = " ".join(f"a:none{number}.test" for number in range(5))
    assert await of(f"v=spf1 {void} +all") is SpfResult.PERMERROR
    many = {"example__org_MX": [f"10 mx{number}.test" for number in range(11)]}
    assert await of("v=spf1 mx +all", **many) is SpfResult.PERMERROR
