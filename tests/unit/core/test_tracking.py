from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.tokens import Purpose, Tokens
from shared.core.tracking import MAX_TARGET_CHARACTERS, Click, Reader, TrackedLinks, target_of

SECRET, OTHER = b"a secret of this cluster", b"the secret that was before"
LINKS = TrackedLinks(SECRET, (), "https://lists.example.org")
URL = "https://shop.example/a?b=c&d=%20#e"
ANN = Reader(7, 11)

numbers = st.integers(1, 2**48 - 1)


def click(url: str = URL, reader: Reader = ANN, links: TrackedLinks = LINKS) -> tuple[str, str]:
    return links.token(Purpose.CLICK, reader), links.target(reader.mailing_id, url)


@given(numbers, st.none() | numbers)
def test_an_address_names_the_reader_and_the_target(mailing_id: int, delivery_id: int | None) -> None:
    reader = Reader(mailing_id, delivery_id)
    assert LINKS.read_click(*click(reader=reader)) == Click(reader, URL)
    assert LINKS.read_open(LINKS.token(Purpose.OPEN, reader)) == reader


def test_no_bit_of_a_recipients_token_may_be_another() -> None:
    token, target = click()
    octets = bytes.fromhex(token)
    for bit in range(8 * len(octets)):
        flipped = bytearray(octets)
        flipped[bit // 8] ^= 1 << bit % 8
        assert LINKS.read_click(flipped.hex(), target) is None
        assert LINKS.read_open(flipped.hex()) is None
    for length in range(len(octets)):
        assert LINKS.read_click(octets[:length].hex(), target) is None


def test_no_bit_of_a_target_may_be_another() -> None:
    token, target = click()
    octets = base64.urlsafe_b64decode(target + "=" * (-len(target) % 4))
    for bit in range(8 * len(octets)):
        flipped = bytearray(octets)
        flipped[bit // 8] ^= 1 << bit % 8
        assert LINKS.read_click(token, base64.urlsafe_b64encode(flipped).rstrip(b"=").decode()) is None
    for length in range(len(target)):
        assert LINKS.read_click(token, target[:length]) is None


def test_a_target_has_one_spelling() -> None:
    token, target = click(URL + "x")
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.!"
    for other in {target + "=", target + "A", "." + target, target[:5] + "!" + target[5:]} | {
        target[:-1] + digit for digit in digits if digit != target[-1]
    }:
        assert LINKS.read_click(token, other) is None


def test_a_link_of_another_mailing_is_none() -> None:
    token, _ = click()
    assert LINKS.read_click(token, LINKS.target(8, URL)) is None
    assert LINKS.read_click(token, LINKS.target(7, "https://evil.example/")) is not None


def test_a_token_is_good_for_one_purpose() -> None:
    opened, (clicked, target) = LINKS.token(Purpose.OPEN, ANN), click()
    assert LINKS.read_click(opened, target) is None
    assert LINKS.read_open(clicked) is None
    for purpose in (Purpose.LEAVE, Purpose.CONFIRM, Purpose.PREFERENCES):
        token = Tokens(SECRET).make(purpose, 11)
        assert LINKS.read_open(token) is None
        assert LINKS.read_click(token, target) is None
        assert LINKS.read_open(LINKS.token(purpose, ANN)) is None


@given(st.text(), st.text() | st.binary().map(lambda octets: base64.urlsafe_b64encode(octets).decode()))
def test_what_is_no_address_of_ours_is_none(token: str, target: str) -> None:
    assert LINKS.read_open(token) is None
    assert LINKS.read_click(token, target) is None
    assert LINKS.read_click(click()[0], target) is None


def test_a_megabyte_is_none() -> None:
    assert LINKS.read_open("ab" * 500_000) is None
    assert LINKS.read_click(click()[0], "ab" * 500_000) is None


def test_an_older_secrets_addresses_are_read_while_it_is_known() -> None:
    older = TrackedLinks(OTHER, (), "https://lists.example.org")
    assert LINKS.read_click(*click(links=older)) is None
    rotated = TrackedLinks(SECRET, (b"another secret, older still", OTHER), "https://lists.example.org")
    assert rotated.read_click(*click(links=older)) == rotated.read_click(*click()) == Click(ANN, URL)
    mixed = click(links=older)[0], click()[1]
    assert rotated.read_click(*mixed) is None


def test_an_address_tells_neither_of_its_numbers() -> None:
    first, second = (LINKS.token(Purpose.CLICK, Reader(7, number)) for number in (11, 12))
    assert first[2:10] != second[2:10]
    assert (11).to_bytes(6, "big").hex() not in first


@pytest.mark.parametrize(
    "url",
    [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "https://",
        "https:\\\\evil.example",
        "https://good.example\\@evil.example/",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "ftp://example.org/",
        "mailto:ann@example.com",
        "cid:image1",
        "#anchor",
        "",
        "?a=b",
        "https://good.example@evil.example/",
        "https://user:password@evil.example/",
        "https://good%2eexample/",
        "https://münchen.example/",
        "https://example.org/\r\nSet-Cookie: a=b",
        "https://example.org/\nx",
        "https://example.org/\x00",
        "https://exam\tple.org/",
        "https://example.org:port/",
        "https://[::1/",
        "https://example.org/" + "a" * MAX_TARGET_CHARACTERS,
    ],
)
def test_an_odd_link_is_not_tracked_and_no_key_makes_it_followed(url: str) -> None:
    assert target_of(url) is None
    if url.isascii():
        assert LINKS.read_click(*click(url)) is None


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.org", "https://example.org"),
        (" HTTPS://Example.org:8443/a?b=c&d;e#f ", "HTTPS://Example.org:8443/a?b=c&d;e#f"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("https://example.org/ä b\"<>'", "https://example.org/%C3%A4%20b%22%3C%3E'"),
        (
            "https://example.org/%C3%A4?u=https://other.example/@x",
            "https://example.org/%C3%A4?u=https://other.example/@x",
        ),
    ],
)
def test_a_web_link_is_tracked(url: str, target: str) -> None:
    assert target_of(url) == target == target_of(target)


@given(st.text() | st.text().map(lambda text: f"https://example.org/{text}"))
def test_a_target_fits_into_a_header_field(url: str) -> None:
    target = target_of(url)
    if target is not None:
        assert target.isascii()
        assert not any(character <= " " or character == "\x7f" for character in target)
        assert target.lower().startswith(("http://", "https://"))
        assert target_of(target) == target
