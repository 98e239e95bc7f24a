"""Which hosts a domain's mail goes to, asked of a real DNS server on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from deploy.local.dns_server import DnsServer, Records, dns_server
from shared.core.address import Address
from shared.dns.mx import FAILED_SECONDS, MailHost, MxLookup, NoMailHost
from shared.dns.resolver import NoSuchDomainError, Resolver

PUBLIC, PUBLIC_TOO, PUBLIC_IPV6 = "8.8.8.8", "9.9.9.9", "2001:4860:4860::8888"


def lookup(
    server: DnsServer,
    *,
    allow_private_hosts: bool = False,
    is_ours: Callable[[MailHost], bool] = lambda _host: False,
    random: Callable[[], float] = lambda: 0.5,
    now_seconds: Callable[[], float] = lambda: 0.0,
) -> MxLookup:
    return MxLookup(
        Resolver(("127.0.0.1", server.port), lifetime_seconds=0.5),
        allow_private_hosts=allow_private_hosts,
        is_ours=is_ours,
        random=random,
        now_seconds=now_seconds,
    )


async def hosts(records: Records, domain: str = "x.test", *, allow: bool = False) -> tuple[MailHost, ...] | NoMailHost:
    async with dns_server(records) as server:
        return await lookup(server, allow_private_hosts=allow).mail_hosts(domain)


async def test_mail_hosts_come_by_preference() -> None:
    found = await hosts(
        {
            ("x.test", "MX"): ["20 b.x.test.", "10 a.x.test."],
            ("a.x.test", "A"): [PUBLIC],
            ("a.x.test", "AAAA"): [PUBLIC_IPV6],
            ("b.x.test", "A"): [PUBLIC_TOO],
        }
    )
    assert found == (
        MailHost("a.x.test", PUBLIC_IPV6),
        MailHost("a.x.test", PUBLIC),
        MailHost("b.x.test", PUBLIC_TOO),
    )


async def test_equal_mail_hosts_are_shuffled() -> None:
    names = [f"m{n}.x.test" for n in range(4)]
    records: dict[tuple[str, str], list[str] | str] = {("x.test", "MX"): [f"10 {name}." for name in names]}
    records |= {(name, "A"): [PUBLIC] for name in names}
    orders = set()
    async with dns_server(records) as server:
        for seed in range(20):
            random = Random(seed).random  # noqa: S311
            found = await lookup(server, random=random).mail_hosts("x.test")
            assert isinstance(found, tuple)
            assert sorted(host.name for host in found) == names
            orders.add(tuple(host.name for host in found))
    assert len(orders) > 5


async def test_a_domain_without_mx_records_takes_mail_itself() -> None:
    assert await hosts({("x.test", "A"): [PUBLIC]}) == (MailHost("x.test", PUBLIC),)


async def test_a_domain_with_mx_records_never_falls_back_to_its_own_address() -> None:
    found = await hosts({("x.test", "MX"): ["10 gone.x.test."], ("x.test", "A"): [PUBLIC]})
    assert found == NoMailHost(True, "5.4.4", "the mail hosts of x.test have no address")


async def test_an_alias_is_followed() -> None:
    found = await hosts(
        {
            ("x.test", "CNAME"): ["y.test."],
            ("y.test", "MX"): ["10 mx.y.test."],
            ("mx.y.test", "CNAME"): ["host.y.test."],
            ("host.y.test", "A"): [PUBLIC],
        }
    )
    assert found == (MailHost("mx.y.test", PUBLIC),)


@pytest.mark.parametrize(
    ("records", "is_permanent", "enhanced_status"),
    [
        ({("x.test", "MX"): ["0 ."]}, True, "5.1.10"),
        ({("other.test", "A"): [PUBLIC]}, True, "5.1.2"),
        ({("x.test", "TXT"): ["nothing"]}, True, "5.4.4"),
        ({("x.test", "ANY"): "SERVFAIL"}, False, "4.4.3"),
        ({("x.test", "ANY"): "SILENCE"}, False, "4.4.3"),
        ({("x.test", "CNAME"): ["y.test."], ("y.test", "CNAME"): ["x.test."]}, False, "4.4.3"),
        ({("x.test", "MX"): ["10 a.x.test."], ("a.x.test", "ANY"): "SERVFAIL"}, False, "4.4.3"),
        ({("x.test", "MX"): ["10 a.x.test."], ("a.x.test", "A"): ["127.0.0.1"]}, True, "5.4.4"),
        ({("x.test", "A"): ["10.0.0.1"], ("x.test", "AAAA"): ["::1"]}, True, "5.4.4"),
    ],
    ids=[
        "null MX",
        "NXDOMAIN",
        "no address",
        "SERVFAIL",
        "silence",
        "CNAME loop",
        "host SERVFAIL",
        "loopback",
        "private",
    ],
)
async def test_a_domain_without_a_mail_host_says_for_how_long(
    records: Records, is_permanent: bool, enhanced_status: str
) -> None:
    found = await hosts(records)
    assert isinstance(found, NoMailHost)
    assert (found.is_permanent, found.enhanced_status) == (is_permanent, enhanced_status)


@pytest.mark.parametrize("name", ["a..test", "x" * 64 + ".test", ".".join(["x" * 60] * 5), ""])
async def test_a_name_that_cannot_be_a_domain_is_final(name: str) -> None:
    found = await hosts({("x.test", "A"): [PUBLIC]}, name)
    assert isinstance(found, NoMailHost)
    assert found.is_permanent


async def test_private_hosts_are_left_out_and_the_public_ones_kept() -> None:
    records: Records = {
        ("x.test", "MX"): ["10 a.x.test.", "20 b.x.test."],
        ("a.x.test", "A"): ["192.168.1.1", "169.254.169.254"],
        ("b.x.test", "A"): [PUBLIC],
    }
    assert await hosts(records) == (MailHost("b.x.test", PUBLIC),)


async def test_private_hosts_are_taken_where_they_are_allowed() -> None:
    assert await hosts({("x.test", "A"): ["127.0.0.1"]}, allow=True) == (MailHost("x.test", "127.0.0.1"),)


async def test_of_a_thousand_mail_hosts_a_few_are_looked_up() -> None:
    records: dict[tuple[str, str], list[str] | str] = {("x.test", "MX"): [f"{n} m{n}.x.test." for n in range(1000)]}
    records |= {(f"m{n}.x.test", "A"): [f"8.8.{n}.{m}" for m in range(4)] for n in range(200)}
    async with dns_server(records) as server:
        found = await lookup(server).mail_hosts("x.test")
        assert isinstance(found, tuple)
        assert len(found) == 10
        assert found[0].name == "m0.x.test"
        assert len(server.questions) == 11


async def test_answers_are_kept_for_their_ttl() -> None:
    async with dns_server({("x.test", "A"): [PUBLIC]}) as server:
        mail_hosts = lookup(server).mail_hosts
        assert await mail_hosts("x.test") == await mail_hosts("x.test")
        assert sorted(server.questions) == ["x.test A", "x.test AAAA", "x.test MX"]


async def test_answers_without_a_ttl_are_asked_again() -> None:
    async with dns_server({("x.test", "A"): [PUBLIC]}, ttl_seconds=0) as server:
        mail_hosts = lookup(server).mail_hosts
        await mail_hosts("x.test")
        await mail_hosts("x.test")
        assert server.questions.count("x.test A") == 2


async def test_what_does_not_exist_is_kept_too() -> None:
    async with dns_server({("other.test", "A"): [PUBLIC]}) as server:
        mail_hosts = lookup(server).mail_hosts
        assert await mail_hosts("x.test") == await mail_hosts("x.test")
        assert server.questions == ["x.test MX"]


async def test_the_addresses_of_a_host_come_in_turns_ipv6_first() -> None:
    records: Records = {("x.test", "A"): [PUBLIC, PUBLIC_TOO], ("x.test", "AAAA"): [PUBLIC_IPV6]}
    found = await hosts(records)
    assert isinstance(found, tuple)
    assert [":" in host.address for host in found] == [True, False, False]


async def test_an_internationalised_domain_is_asked_for_by_its_ascii_form() -> None:
    domain = Address.parse("anna@Bücher.test").ascii_domain
    assert await hosts({("xn--bcher-kva.test", "A"): [PUBLIC]}, domain) == (MailHost(domain, PUBLIC),)


async def test_our_own_addresses_are_no_mail_hosts() -> None:
    records: Records = {
        ("x.test", "MX"): ["10 a.x.test.", "20 b.x.test."],
        ("a.x.test", "A"): [PUBLIC],
        ("b.x.test", "A"): [PUBLIC_TOO],
    }
    async with dns_server(records) as server:
        found = await lookup(server, is_ours=lambda host: host.address == PUBLIC).mail_hosts("x.test")
        assert found == (MailHost("b.x.test", PUBLIC_TOO),)
        found = await lookup(server, is_ours=lambda host: host.name in ("a.x.test", "b.x.test")).mail_hosts("x.test")
        assert found == NoMailHost(
            True, "5.4.6", "the mail hosts of x.test are this one: the mail would go in a circle"
        )


@pytest.mark.parametrize("behaviour", ["SERVFAIL", "SILENCE"])
async def test_a_failed_lookup_is_not_repeated_for_a_minute(behaviour: str) -> None:
    now = 0.0
    async with dns_server({("x.test", "ANY"): behaviour}) as server:
        mail_hosts = lookup(server, now_seconds=lambda: now).mail_hosts
        first = await mail_hosts("x.test")
        asked = len(server.questions)
        assert await mail_hosts("x.test") == first
        assert len(server.questions) == asked
        now += FAILED_SECONDS + 1
        assert await mail_hosts("x.test") == first
        assert len(server.questions) > asked


async def test_what_is_kept_of_the_dns_is_bounded() -> None:
    async with dns_server({("x.test", "A"): [PUBLIC]}) as server:
        resolver = Resolver(("127.0.0.1", server.port), cache_size=4)
        for number in range(20):
            with pytest.raises(NoSuchDomainError):
                await resolver.mx(f"{number}.gone.test")
        asked = len(server.questions)
        for number in range(20):
            with pytest.raises(NoSuchDomainError):
                await resolver.mx(f"{number}.gone.test")
        # Had all answers been kept, nothing would have been asked.
        assert len(server.questions) == asked + 20


async def test_a_long_chain_of_aliases_ends() -> None:
    records: dict[tuple[str, str], list[str] | str] = {(f"c{n}.test", "CNAME"): [f"c{n + 1}.test."] for n in range(200)}
    found = await hosts(records, "c0.test")
    assert isinstance(found, NoMailHost)
    assert not found.is_permanent
