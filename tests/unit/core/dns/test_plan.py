from __future__ import annotations

import dns.zone
import pytest

from shared.core.dns.plan import PublicHost, SigningRecord, plan, sender_policy, within
from shared.core.dns.record import Purpose, RecordType

HOSTS = (
    PublicHost("click.example.org", ("192.0.2.1", "192.0.2.2"), None, is_tracking=True, is_sending=False),
    PublicHost("mx1.example.org", ("192.0.2.1", "2001:db8::1"), 10, is_tracking=False, is_sending=False),
    PublicHost("mx2.example.org", ("192.0.2.2",), 20, is_tracking=False, is_sending=False),
    PublicHost("out.example.net", ("198.51.100.7", "2001:db8::7"), None, is_tracking=False, is_sending=True),
)
KEY = SigningRecord("lists.example.org", "s._domainkey.lists.example.org", "v=DKIM1; k=rsa; p=" + "A" * 392)
WHOLE = plan(HOSTS, ("lists.example.org",), (KEY,))


def planned(purpose: Purpose) -> list[str]:
    return [f"{record.name} {record.type} {record.value}" for record in WHOLE.records if record.purpose is purpose]


def test_a_hosts_addresses_are_planned_by_family() -> None:
    addresses = planned(Purpose.ADDRESS)
    assert "click.example.org A 192.0.2.2" in addresses
    assert "mx1.example.org AAAA 2001:db8::1" in addresses
    assert len(addresses) == 7


def test_every_domain_has_each_mail_host_with_its_preference() -> None:
    assert planned(Purpose.MAIL_EXCHANGER) == [
        "lists.example.org MX 10 mx1.example.org",
        "lists.example.org MX 20 mx2.example.org",
    ]


def test_a_domain_says_from_where_its_mail_comes_and_a_sending_host_too() -> None:
    assert planned(Purpose.SENDER_POLICY) == [
        "out.example.net TXT v=spf1 ip4:198.51.100.7 ip6:2001:db8::7 -all",
        "lists.example.org TXT v=spf1 ip4:198.51.100.7 ip6:2001:db8::7 ~all",
    ]


def test_only_addresses_that_send_need_a_name() -> None:
    names = planned(Purpose.REVERSE_NAME)
    assert names[0] == "7.100.51.198.in-addr.arpa PTR out.example.net"
    assert names[1].startswith("7.0.0.0.") and names[1].endswith(".8.b.d.0.1.0.0.2.ip6.arpa PTR out.example.net")
    assert len(names) == 2


def test_policies_of_a_domain_are_planned() -> None:
    assert planned(Purpose.MESSAGE_POLICY) == [
        "_dmarc.lists.example.org TXT v=DMARC1; p=none; rua=mailto:postmaster@lists.example.org"
    ]
    assert planned(Purpose.TLS_REPORTING) == [
        "_smtp._tls.lists.example.org TXT v=TLSRPTv1; rua=mailto:postmaster@lists.example.org"
    ]
    assert planned(Purpose.SIGNING_KEY) == [f"{KEY.name} TXT {KEY.text}"]


def test_a_zone_file_of_the_plan_says_what_the_plan_says() -> None:
    lines = "\n".join(record.zone_line for record in within(WHOLE, "example.org"))
    zone = dns.zone.from_text(
        f"@ 60 IN SOA a. b. 1 1 1 1 1\n@ 60 IN NS a.\n{lines}\n", "example.org.", relativize=False
    )
    read = {
        (str(name).rstrip("."), str(RecordType(rdata.rdtype.name)), rdata.to_text())
        for name, _, rdata in zone.iterate_rdatas()
        if rdata.rdtype.name in set(RecordType)
    }
    assert ("lists.example.org", "MX", "10 mx1.example.org.") in read
    assert ("mx1.example.org", "AAAA", "2001:db8::1") in read
    texts = [text for name, kind, text in read if name == KEY.name and kind == "TXT"]
    assert [text.replace('" "', "") for text in texts] == [f'"{KEY.text}"']
    assert len(read) == len(within(WHOLE, "example.org")) == 11


@pytest.mark.parametrize(
    ("addresses", "record"),
    [
        (["192.0.2.1"], "v=spf1 ip4:192.0.2.1 -all"),
        (["192.0.2.1", "192.0.2.0"], "v=spf1 ip4:192.0.2.0/31 -all"),
        (["192.0.2.1", "192.0.2.2"], "v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 -all"),
        (["2001:db8::1", "192.0.2.1", "192.0.2.1"], "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all"),
    ],
)
def test_a_sender_policy_has_these_addresses_and_no_others(addresses: list[str], record: str) -> None:
    assert sender_policy(addresses, ending="-all") == record


def test_what_is_not_known_is_said() -> None:
    gaps = plan((), ("lists.example.org",), ()).gaps
    assert [gap.partition(":")[0] for gap in gaps] == [
        "No host takes list mail",
        "No host sends",
        "No host serves readers",
        "lists.example.org has no signing key",
    ]
    assert [record.purpose for record in plan((), ("lists.example.org",), ()).records] == [
        Purpose.MESSAGE_POLICY,
        Purpose.TLS_REPORTING,
    ]


def test_a_domain_that_is_a_sending_host_has_one_policy() -> None:
    host = PublicHost("example.org", ("203.0.113.1",), 10, is_tracking=True, is_sending=True)
    policies = [r for r in plan((host,), ("example.org",), ()).records if r.purpose is Purpose.SENDER_POLICY]
    assert [policy.name for policy in policies] == ["example.org"]


def test_a_name_that_is_too_long_for_the_dns_is_left_out() -> None:
    domain = ".".join(["x" * 60] * 4) + ".test"
    assert len(domain) == 248
    whole = plan((), (domain,), ())
    assert whole.records == ()
    assert sum("too long" in gap for gap in whole.gaps) == 2
