from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.mailboxes import mailboxes


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("ann@example.org", ["ann@example.org"]),
        ("Ann <ann@example.org>", ["ann@example.org"]),
        ('"ann@member.test" <evil@example.org>', ["evil@example.org"]),
        ("ann@member.test <evil@example.org>", ["evil@example.org"]),
        ("(ann@member.test) evil@example.org", ["evil@example.org"]),
        ("evil@example.org (see (ann@member.test) \\) there)", ["evil@example.org"]),
        ("=?utf-8?q?ann=40member.test?= <evil@example.org>", ["evil@example.org"]),
        ('"a, b; c: <x@y.test>" <ann@example.org>', ["ann@example.org"]),
        ('"back\\"slash" <ann@example.org>', ["ann@example.org"]),
        ("a@example.org, B <b@example.org>,", ["a@example.org", "b@example.org"]),
        ("Staff: a@example.org, b@example.org;", ["a@example.org", "b@example.org"]),
        ('"a b"@example.org', ['"a b"@example.org']),
        ("Änn <änn@exämple.org>", ["änn@exämple.org"]),
        ("undisclosed-recipients:;", []),
        ("", []),
    ],
)
def test_an_address_is_what_stands_as_one(value: str, addresses: list[str]) -> None:
    found = mailboxes(value)
    assert [address.spelling for address in found.addresses] == addresses
    assert found.unreadable == 0


@pytest.mark.parametrize(
    "value",
    [
        "=?utf-8?q?=40attacker.com?=@member.test",
        "=?utf-8?b?YW5uQG1lbWJlci50ZXN0?=",
        "Ann",
        "<ann@example.org> <evil@example.org>",
        "<ann@example.org> evil",
        "<ann@example.org",
        "ann@example.org>",
        "<<ann@example.org>>",
        "<@relay.test:ann@example.org>",
        '"ann@example.org',
        "(ann@example.org",
        "ann@example.org, ,,(",
        "<>",
        "ann@[192.0.2.1]",
        "ann @ example.org",
        "ann@example.org\x00",
        ", ".join(["ann@example.org"] * 51),
    ],
)
def test_what_could_be_read_in_two_ways_is_unreadable(value: str) -> None:
    assert mailboxes(value).unreadable > 0


@given(st.text(alphabet='<>()",;:\\@ab.\r\n ', max_size=60))
def test_any_value_is_answered(value: str) -> None:
    found = mailboxes(value)
    assert all(address.spelling in value.replace("\\", "") or '"' in address.spelling for address in found.addresses)


@pytest.mark.parametrize(
    "value",
    ["(" * 1000 + ")" * 1000 + "ann@example.org", "(" * 100_000, "a@b.test," * 10_000, "<" * 100_000, '"\\' * 50_000],
)
def test_hostile_values_are_read_in_no_time(value: str) -> None:
    began = time.thread_time()
    mailboxes(value)
    assert time.thread_time() - began < 1
