"""Which policy a domain publishes, by its own record or one above it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.dmarc import DmarcRecord, PublishedPolicy, organizational_domain, policy_of, read_record, walk

NONE, QUARANTINE, REJECT = PublishedPolicy


def records(**texts: str) -> dict[str, DmarcRecord]:
    """By domain, `_` for the dots."""
    found = {name.replace("_", "."): read_record([text]) for name, text in texts.items()}
    return {name: record for name, record in found.items() if record is not None}


@pytest.mark.parametrize(
    ("texts", "policy"),
    [
        (["v=DMARC1; p=reject"], REJECT),
        (["v=DMARC1;p=quarantine; pct=0; t=y"], QUARANTINE),
        (["v = DMARC1 ; P = Reject ;"], REJECT),
        (["v=spf1 -all", "v=DMARC1; p=reject; rua=mailto:x@example.com"], REJECT),
        (["v=DMARC1"], NONE),
        (["v=DMARC1; rua=mailto:x@example.com; p=rejct"], NONE),
    ],
)
def test_a_record_says_what_is_asked_for(texts: list[str], policy: PublishedPolicy) -> None:
    record = read_record(texts)
    assert record is not None
    assert record.policy is policy


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["v=spf1 -all"],
        ["p=reject; v=DMARC1"],
        ["v=DMARC12; p=reject"],
        ["v=dmarc1; p=reject"],
        ["v=DMARC1; p=rejct"],
        ["v=DMARC1; p=reject", "v=DMARC1; p=none"],
    ],
)
def test_what_is_no_single_record_is_none(texts: list[str]) -> None:
    assert read_record(texts) is None


@given(st.lists(st.text(), max_size=3))
def test_any_text_is_read(texts: list[str]) -> None:
    read_record(texts)
    read_record(["v=DMARC1;" + text for text in texts])


def test_the_walk_goes_from_the_domain_to_the_root_in_eight_questions_at_most() -> None:
    assert walk("a.b.Example.com") == ["a.b.example.com", "b.example.com", "example.com", "com"]
    deep = ".".join("abcdefghijk")
    assert walk(deep) == [deep, *(".".join("efghijk"[number:]) for number in range(7))]


def test_the_domains_own_record_counts_first() -> None:
    found = records(mail_example_com="v=DMARC1; p=none", example_com="v=DMARC1; p=reject")
    assert policy_of("Mail.example.com", found) is NONE


def test_a_subdomain_without_a_record_is_under_its_organisations() -> None:
    found = records(example_com="v=DMARC1; p=none; sp=quarantine; np=reject")
    assert policy_of("example.com", found) is NONE
    assert policy_of("a.mail.example.com", found) is QUARANTINE
    assert policy_of("a.mail.example.com", found, domain_exists=False) is REJECT
    assert policy_of("mail.example.com", records(example_com="v=DMARC1; p=reject")) is REJECT


def test_the_organisation_is_the_highest_with_a_record_unless_psd_says_otherwise() -> None:
    plain = records(b_example_com="v=DMARC1; p=none", example_com="v=DMARC1; p=reject")
    assert organizational_domain("a.b.example.com", plain) == "example.com"
    own = records(b_example_com="v=DMARC1; p=none; psd=n")
    assert organizational_domain("a.b.example.com", own) == "b.example.com"
    suffix = records(bank="v=DMARC1; p=reject; psd=y")
    assert organizational_domain("a.example.bank", suffix) == "example.bank"
    assert policy_of("a.example.bank", suffix) is REJECT
    assert organizational_domain("a.example.com", {}) == "a.example.com"


def test_an_organisation_below_a_public_suffix_speaks_for_itself() -> None:
    found = records(example_bank="v=DMARC1; p=none", bank="v=DMARC1; p=reject; psd=y")
    assert policy_of("a.example.bank", found) is NONE
    assert policy_of("other.bank", records(bank="v=DMARC1; p=none; sp=reject; psd=y")) is REJECT
