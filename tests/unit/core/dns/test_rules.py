"""How each purpose's rule judges what the DNS has."""

from __future__ import annotations

import pytest

from shared.core.dns.answers import Failure, Unanswered
from shared.core.dns.record import Purpose, RecordType
from tests.unit.core.dns.zone import Zone, judged, record, summary

A, MX, TXT = RecordType.A, RecordType.MX, RecordType.TXT
ADDRESSES = [record("h.test", A, address, Purpose.ADDRESS) for address in ("192.0.2.1", "192.0.2.2")]
EXCHANGERS = [record("l.test", MX, value, Purpose.MAIL_EXCHANGER) for value in ("10 a.test", "20 b.test")]
POLICY = record("_dmarc.a.b.test", TXT, "v=DMARC1; p=none; rua=mailto:x@b.test", Purpose.MESSAGE_POLICY)
REPORTING = record("_smtp._tls.l.test", TXT, "v=TLSRPTv1; rua=mailto:x@l.test", Purpose.TLS_REPORTING)
REVERSE = record("1.2.0.192.in-addr.arpa", RecordType.PTR, "h.test", Purpose.REVERSE_NAME)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (
            {"h.test A": ["192.0.2.2", "192.0.2.1"]},
            [("192.0.2.1", "right", ("192.0.2.1",)), ("192.0.2.2", "right", ("192.0.2.2",))],
        ),
        ({"h.test A": ["192.0.2.1"]}, [("192.0.2.1", "right", ("192.0.2.1",)), ("192.0.2.2", "missing", ())]),
        (
            {"h.test A": ["192.0.2.1", "192.0.2.9"]},
            [("192.0.2.1", "right", ("192.0.2.1",)), ("192.0.2.2", "wrong", ("192.0.2.9",))],
        ),
        (
            {"h.test A": ["192.0.2.1", "192.0.2.2"], "h.test AAAA": ["2001:db8::1"]},
            [
                ("192.0.2.1", "right", ("192.0.2.1",)),
                ("192.0.2.2", "right", ("192.0.2.2",)),
                (None, "wrong", ("2001:db8::1",)),
            ],
        ),
        ({}, [("192.0.2.1", "missing", ()), ("192.0.2.2", "missing", ())]),
    ],
)
def test_a_host_has_the_stated_addresses_and_no_others(zone: Zone, expected: object) -> None:
    assert summary(judged(ADDRESSES, zone)) == expected


@pytest.mark.parametrize(
    ("found", "states", "mend"),
    [
        (["10 a.test", "20 b.test"], ["right", "right"], None),
        (["20 b.test"], ["missing", "right"], "Add l.test. 300 IN MX 10 a.test."),
        (["30 a.test", "20 b.test"], ["wrong", "right"], "Change the preference of the MX a.test of l.test from 30"),
        (["10 a.test", "20 b.test", "5 old.test"], ["right", "right", "wrong"], "Remove the MX 5 old.test of l.test"),
        (["0 "], ["missing", "missing", "wrong"], "Remove the null MX of l.test"),
    ],
)
def test_a_domain_has_our_exchangers_and_others_are_named(
    found: list[str], states: list[str], mend: str | None
) -> None:
    findings = judged(EXCHANGERS, {"l.test MX": found})
    assert [str(finding.state) for finding in findings] == states
    assert mend is None or any(mend in (finding.mend or "") for finding in findings)


def test_an_exchanger_that_is_an_alias_is_wrong() -> None:
    findings = judged(EXCHANGERS, {"l.test MX": ["10 a.test", "20 b.test"], "a.test CNAME": ["c.test"]})
    assert [str(finding.state) for finding in findings] == ["wrong", "right"]
    assert "RFC 2181" in (findings[0].mend or "")


@pytest.mark.parametrize(
    ("zone", "state"),
    [
        ({"_dmarc.a.b.test TXT": ["v=DMARC1; p=none"]}, "right"),
        ({"_dmarc.a.b.test TXT": ["v=DMARC1;p=reject; adkim=s"]}, "right"),
        ({"_dmarc.a.b.test TXT": ["unrelated", "v=DMARC1; p=quarantine"]}, "right"),
        ({"_dmarc.b.test TXT": ["v=DMARC1; p=reject; sp=none"]}, "right"),
        ({"_dmarc.b.test TXT": ["v=DMARC1; p=reject"]}, "right"),
        ({"_dmarc.a.b.test TXT": ["v=DMARC1; rua=mailto:x@b.test"]}, "right"),
        ({"_dmarc.a.b.test TXT": ["v=DMARC1; p=maybe"]}, "wrong"),
        ({"_dmarc.a.b.test TXT": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}, "wrong"),
        ({"_dmarc.a.b.test TXT": ["v=DMARC1X; p=none"]}, "missing"),
        ({"_dmarc.test TXT": ["v=DMARC1; p=reject"]}, "missing"),
        ({}, "missing"),
    ],
)
def test_any_policy_that_receivers_understand_is_right(zone: Zone, state: str) -> None:
    assert [str(finding.state) for finding in judged([POLICY], zone)] == [state]


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (["v=TLSRPTv1; rua=mailto:tls@elsewhere.test"], "right"),
        (["v=TLSRPTv1;rua=https://elsewhere.test/tls"], "right"),
        (["v=TLSRPTv1; rua="], "wrong"),
        (["v=TLSRPTv1; rua=mailto:a@b.test", "v=TLSRPTv1; rua=mailto:c@d.test"], "wrong"),
        (["something else"], "missing"),
        ([], "missing"),
    ],
)
def test_reports_on_tls_may_go_anywhere(found: list[str], state: str) -> None:
    assert [str(finding.state) for finding in judged([REPORTING], {"_smtp._tls.l.test TXT": list(found)})] == [state]


@pytest.mark.parametrize(
    ("found", "state"),
    [(["h.test"], "right"), (["isp.test"], "wrong"), (["h.test", "isp.test"], "wrong"), ([], "missing")],
)
def test_an_address_has_the_name_of_its_host(found: list[str], state: str) -> None:
    findings = judged([REVERSE], {f"{REVERSE.name} PTR": list(found)})
    assert [(str(finding.state), finding.found) for finding in findings] == [(state, tuple(found))]


def test_what_the_dns_fails_to_answer_is_no_finding() -> None:
    with pytest.raises(Unanswered, match="SERVFAIL"):
        judged([REVERSE], {f"{REVERSE.name} PTR": Failure("SERVFAIL")})
