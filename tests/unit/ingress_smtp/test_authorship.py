"""Who is believed to have written a message: DMARC's rules, with SPF and DKIM of every kind."""

from __future__ import annotations

from datetime import UTC, datetime

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.ingress_smtp.authorship import Authorship
from services.ingress_smtp.trace import Client
from shared.core.address import Address
from shared.core.authorship import Belief
from shared.core.dkim import DkimAlgorithm
from shared.mail.dkim_keys import make_key, record_text
from tests.fakes.dns import FakeResolver

KEY = make_key("example.org", "s1", DkimAlgorithm.RSA_SHA256)
PEM = KEY.private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
MESSAGE = b"From: Ann <ann@example.org>\r\nSubject: hello\r\n\r\nhello\r\n"
ANN = Address.parse("ann@example.org")

Records = dict[tuple[str, str], list[str]]


def signed_by(domain: str) -> bytes:
    field: bytes = dkim.sign(MESSAGE, b"s1", domain.encode(), PEM)
    return field + MESSAGE


def key_of(domain: str) -> Records:
    return {(f"s1._domainkey.{domain}", "TXT"): [record_text(KEY)]}


def spf_of(domain: str, record: str = "v=spf1 ip4:192.0.2.1 -all") -> Records:
    return {(domain, "TXT"): [record]}


def dmarc_of(domain: str, record: str = "v=DMARC1; p=none") -> Records:
    return {(f"_dmarc.{domain}", "TXT"): [record]}


async def belief(
    records: Records,
    content: bytes = MESSAGE,
    *authors: Address,
    sender: str = "ann@example.org",
    peer: str = "192.0.2.1",
) -> Belief:
    resolver = FakeResolver(records)
    authorship = Authorship(
        resolver,  # type: ignore[arg-type]
        is_trusted_peer=lambda address: address == "127.0.0.1",
        now=lambda: datetime(2026, 11, 23, tzinfo=UTC),
    )
    return await authorship.belief(content, authors or (ANN,), sender, Client(peer, "client.test", "ESMTP"))


async def test_nothing_vouches_for_a_domain_that_publishes_nothing() -> None:
    assert await belief({}) is Belief.UNPROVEN


async def test_a_trusted_peer_is_believed_without_a_question() -> None:
    assert await belief({("example.org", "TXT"): ["FAILS"]}, peer="127.0.0.1") is Belief.PROVEN


async def test_spf_vouches_for_its_own_domain() -> None:
    assert await belief(spf_of("example.org")) is Belief.PROVEN
    assert await belief(spf_of("example.org"), peer="192.0.2.2") is Belief.UNPROVEN
    assert await belief(spf_of("example.org", "v=spf1 ~all")) is Belief.UNPROVEN
    assert await belief(spf_of("evil.test"), sender="ann@evil.test") is Belief.UNPROVEN
    assert await belief(spf_of("example.org"), sender="") is Belief.UNPROVEN


async def test_dkim_vouches_for_its_own_domain() -> None:
    good = signed_by("example.org")
    assert await belief(key_of("example.org"), good, peer="198.51.100.1") is Belief.PROVEN
    assert await belief(key_of("example.org"), good.replace(b"hello", b"hallo")) is Belief.UNPROVEN
    assert await belief(key_of("evil.org"), signed_by("evil.org")) is Belief.UNPROVEN


async def test_names_of_one_organisation_are_aligned_unless_it_wants_that_strictly() -> None:
    by_spf = {**spf_of("bounce.example.org"), **dmarc_of("example.org")}
    assert await belief(by_spf, sender="b@bounce.example.org") is Belief.PROVEN
    by_dkim = {**key_of("mail.example.org"), **dmarc_of("example.org")}
    assert await belief(by_dkim, signed_by("mail.example.org")) is Belief.PROVEN
    strict = dmarc_of("example.org", "v=DMARC1; p=none; aspf=s; adkim=s")
    assert await belief(by_spf | strict, sender="b@bounce.example.org") is Belief.UNPROVEN
    assert await belief(by_dkim | strict, signed_by("mail.example.org")) is Belief.UNPROVEN


async def test_names_below_a_public_suffix_are_strangers_to_one_another() -> None:
    records = {**spf_of("evil.shared.test"), **dmarc_of("shared.test", "v=DMARC1; p=none; psd=y")}
    victim = Address.parse("ann@victim.shared.test")
    assert await belief(records, MESSAGE, victim, sender="x@evil.shared.test") is Belief.UNPROVEN


async def test_without_a_record_no_other_name_is_aligned() -> None:
    assert await belief(spf_of("bounce.example.org"), sender="b@bounce.example.org") is Belief.UNPROVEN


@pytest.mark.parametrize("policy", ["quarantine", "reject"])
async def test_a_domain_disowns_what_nothing_vouches_for(policy: str) -> None:
    asks = dmarc_of("example.org", f"v=DMARC1; p={policy}")
    assert await belief(asks) is Belief.DISOWNED
    assert await belief(asks | spf_of("example.org")) is Belief.PROVEN
    below = Address.parse("ann@mail.example.org")
    assert await belief(asks, MESSAGE, below) is Belief.DISOWNED
    assert await belief(dmarc_of("example.org", f"v=DMARC1; p={policy}; sp=none"), MESSAGE, below) is Belief.UNPROVEN
    assert await belief(asks, MESSAGE, ANN, Address.parse("ben@other.test")) is Belief.DISOWNED


async def test_every_author_has_to_be_shown() -> None:
    other = Address.parse("bob@example.net")
    assert await belief(spf_of("example.org"), MESSAGE, ANN, other) is Belief.UNPROVEN
    assert await belief(spf_of("example.org"), MESSAGE, ANN, Address.parse("al@example.org")) is Belief.PROVEN


@pytest.mark.parametrize(
    "silent",
    [("example.org", "TXT"), ("_dmarc.example.org", "TXT")],
)
async def test_while_the_dns_is_silent_nobody_knows(silent: tuple[str, str]) -> None:
    assert await belief({silent: ["FAILS"]}) is Belief.UNKNOWN_NOW


async def test_a_key_that_cannot_be_asked_for_leaves_it_open() -> None:
    records: Records = {("s1._domainkey.example.org", "TXT"): ["FAILS"]}
    assert await belief(records, signed_by("example.org"), sender="x@evil.test") is Belief.UNKNOWN_NOW


async def test_what_is_shown_one_way_needs_no_other() -> None:
    silent: Records = {("s1._domainkey.example.org", "TXT"): ["FAILS"]}
    assert await belief(spf_of("example.org") | silent, signed_by("example.org")) is Belief.PROVEN


async def test_a_header_that_says_so_proves_nothing() -> None:
    claims = b"Authentication-Results: mx.lists.test; dmarc=pass\r\nARC-Seal: i=1; cv=pass\r\n"
    assert await belief({}, claims + MESSAGE) is Belief.UNPROVEN


async def test_many_signatures_cost_a_few_questions() -> None:
    many = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s%d; h=from; bh=YQ==; b=YQ==\r\n" % number
        for number in range(500)
    )
    resolver = FakeResolver({})
    authorship = Authorship(
        resolver,  # type: ignore[arg-type]
        is_trusted_peer=lambda _address: False,
        now=lambda: datetime(2026, 11, 23, tzinfo=UTC),
    )
    client = Client("192.0.2.1", "client.test", "ESMTP")
    assert await authorship.belief(many + MESSAGE, (ANN,), "x@example.org", client) is Belief.UNPROVEN
    assert len(resolver.questions) < 20
