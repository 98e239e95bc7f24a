"""The list's prefix: once, wherever it stands, with the author's own words kept as they were written."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.headers import Field, Header, folded, scan
from shared.mail.subject import prefixed
from shared.mail.words import encode_text


def subject(raw: bytes | str) -> Field:
    header = scan(raw.encode() if isinstance(raw, str) else raw)
    assert isinstance(header, Header)
    return header.fields[0]


def shown(raw: bytes) -> str:
    return str(email.message_from_bytes(raw + b"\r\nx", policy=email.policy.default)["Subject"])


def test_the_prefix_stands_before_the_authors_bytes() -> None:
    assert prefixed(subject("Subject: Hello\r\n"), "[dev]") == b"Subject: [dev] Hello\r\n"
    assert prefixed(subject("SUBJECT:Hello\r\n there\r\n"), "[dev]") == b"SUBJECT: [dev] Hello\r\n there\r\n"
    assert prefixed(subject("Subject : Hello\r\n"), "[dev]") == b"Subject: [dev] Hello\r\n"
    assert prefixed(subject(b"Subject: caf\xe9\r\n"), "[dev]") == b"Subject: [dev] caf\xe9\r\n"


@pytest.mark.parametrize(
    "value",
    [
        b"=?iso-2022-jp?B?GyRCJDMkcyRLJEEkTxsoQg==?=",
        b"=?iso-8859-1?Q?Gr=FC=DFe?= an =?koi8-r?B?8NLJ18XU?=",
        b"=?utf-8?q?a?=\r\n =?utf-8?q?b?=",
        b"=?klingon?q?=ff?=",
    ],
)
@pytest.mark.parametrize("prefix", ["[dev]", "[Grüße]", "[=?x?=]", "a  b"])
def test_encoded_subjects_keep_their_character_set(value: bytes, prefix: str) -> None:
    made = prefixed(subject(b"Subject: " + value + b"\r\n"), prefix)
    assert value in made
    assert all(len(line) <= 78 for line in made.split(b"\r\n"))
    author = shown(b"Subject: " + value + b"\r\n")
    assert " ".join(shown(made).split()) == " ".join(f"{prefix} {author}".split())


@pytest.mark.parametrize(
    "value",
    [
        "[dev] Hello",
        "[DEV] Hello",
        "[dev]Hello",
        "[dev]",
        "Re: [dev] Hello",
        "RE:[dev] Hello",
        "AW: [dev] Hello",
        "Antw: [dev] Hello",
        "Re[2]: [dev] Hello",
        "Re (3): AW: Fwd: [dev] Hello",
        "回复：[dev] Hello",
        "[EXTERNAL] Re: [dev] Hello",
        "=?utf-8?q?Re:_[dev]_Gr=C3=BC=C3=9Fe?=",
        "=?utf-8?b?W2Rldl0g4pyT?=",
        "Re: =?iso-8859-1?Q?[dev]_caf=E9?=",
        "Re:\r\n [dev]\r\n Hello",
    ],
)
def test_a_subject_that_has_the_prefix_is_left_as_it_is(value: str) -> None:
    field = subject(f"Subject: {value}\r\n")
    assert prefixed(field, "[dev]") == field.raw


@pytest.mark.parametrize("value", ["About [dev]", "dev", "[de] v", "[devel] Hello", "Re: Hello"])
def test_a_subject_that_only_looks_like_it_gets_the_prefix(value: str) -> None:
    assert prefixed(subject(f"Subject: {value}\r\n"), "[dev]") == f"Subject: [dev] {value}\r\n".encode()


def test_a_word_is_no_prefix_of_a_longer_one() -> None:
    assert prefixed(subject("Subject: Devices\r\n"), "dev") == b"Subject: dev Devices\r\n"
    assert prefixed(subject("Subject: dev: ices\r\n"), "dev") == b"Subject: dev: ices\r\n"


@pytest.mark.parametrize(
    "field", [None, subject("Subject:\r\n"), subject("Subject:   \r\n"), subject("Subject:\r\n \r\n")]
)
def test_an_empty_subject_is_the_prefix(field: Field | None) -> None:
    assert prefixed(field, "[dev]") == b"Subject: [dev]\r\n"


def test_a_long_subject_is_folded_behind_the_prefix() -> None:
    made = prefixed(subject("Subject: " + "x" * 70 + "\r\n"), "[dev]")
    assert made == b"Subject: [dev]\r\n " + b"x" * 70 + b"\r\n"


_PREFIXES = st.text(min_size=1, max_size=60).map(lambda text: " ".join(encode_text(text).split())).filter(bool)


@given(
    _PREFIXES | st.text("[]=?utf-8q_aé Re:", min_size=1).map(str.strip).filter(bool),
    st.text(max_size=80) | st.text("[]Re:=?é "),
)
def test_once_there_it_is_never_added_again(prefix: str, text: str) -> None:
    made = prefixed(subject(folded("Subject", encode_text(text))), prefix)
    header = scan(made + b"X-Next: y\r\n\r\n")
    assert isinstance(header, Header)
    assert [field.name for field in header.fields] == ["subject", "x-next"]
    assert prefixed(header.fields[0], prefix) == made


@given(st.binary(max_size=200))
def test_any_bytes_of_an_author_stay(value: bytes) -> None:
    value = value.replace(b"\r", b"").replace(b"\n", b"").strip()
    made = prefixed(subject(b"Subject: " + value + b"\r\n"), "[dev]")
    assert made.endswith(value + b"\r\n")
