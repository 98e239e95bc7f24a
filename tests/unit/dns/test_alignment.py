from __future__ import annotations

import pytest

from shared.core.dmarc import PublishedPolicy
from shared.core.preflight.draft import Alignment
from shared.dns.dmarc import alignment
from tests.fakes.dns import FakeResolver

RECORDS = {
    ("_dmarc.example.org", "TXT"): ["v=DMARC1; p=reject; sp=quarantine"],
    ("example.org", "MX"): ["10 mx.example.org"],
    ("sub.example.org", "MX"): ["10 mx.example.org"],
    ("_dmarc.strict.example", "TXT"): ["v=DMARC1; p=reject; adkim=s; aspf=s"],
    ("strict.example", "MX"): ["10 mx.strict.example"],
    ("_dmarc.half.example", "TXT"): ["v=DMARC1; p=reject; adkim=s"],
    ("_dmarc.silent.example", "TXT"): ["FAILS"],
}


@pytest.mark.parametrize(
    ("from_domain", "proven_domain", "expected"),
    [
        ("example.org", "lists.example.org", (Alignment.ALIGNED, PublishedPolicy.NONE)),
        ("sub.example.org", "lists.example.org", (Alignment.ALIGNED, PublishedPolicy.NONE)),
        ("half.example", "lists.half.example", (Alignment.ALIGNED, PublishedPolicy.NONE)),
        ("strict.example", "lists.strict.example", (Alignment.UNALIGNED, PublishedPolicy.REJECT)),
        ("example.org", "lists.example.net", (Alignment.UNALIGNED, PublishedPolicy.REJECT)),
        ("sub.example.org", "lists.example.net", (Alignment.UNALIGNED, PublishedPolicy.QUARANTINE)),
        ("nothing.example", "lists.example.net", (Alignment.UNALIGNED, PublishedPolicy.NONE)),
        ("silent.example", "lists.example.net", (Alignment.UNKNOWN, PublishedPolicy.NONE)),
    ],
)
async def test_what_is_proven_for_one_domain_is_good_for_its_organisation_unless_it_is_strict(
    from_domain: str, proven_domain: str, expected: tuple[Alignment, PublishedPolicy]
) -> None:
    assert await alignment(FakeResolver(RECORDS), from_domain, proven_domain) == expected


async def test_nothing_is_asked_about_a_domain_that_signs_for_itself() -> None:
    resolver = FakeResolver(RECORDS)
    assert await alignment(resolver, "example.org", "example.org") == (Alignment.ALIGNED, PublishedPolicy.NONE)
    assert resolver.questions == []
