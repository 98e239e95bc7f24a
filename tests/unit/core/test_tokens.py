from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.tokens import Purpose, Tokens

SECRET, OTHER = b"a secret of this cluster", b"the secret that was before"
NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
TOKENS = Tokens(SECRET)

numbers = st.integers(0, 2**48 - 1)
purposes = st.sampled_from(Purpose)


@given(purposes, numbers, st.none() | st.integers(1, 10**6).map(lambda hours: NOW + timedelta(hours=hours)))
def test_a_token_names_its_row_in_any_case_for_one_purpose(
    purpose: Purpose, number: int, ends_at: datetime | None
) -> None:
    token = TOKENS.make(purpose, number, ends_at=ends_at)
    assert len(token) == (34 if ends_at is None else 40)
    assert TOKENS.read(purpose, token, now=NOW) == TOKENS.read(purpose, token.upper(), now=NOW) == number
    assert [other for other in Purpose if TOKENS.read(other, token, now=NOW) is not None] == [purpose]


@pytest.mark.parametrize("ends_at", [None, NOW + timedelta(hours=3)])
def test_no_bit_of_a_token_may_be_another(ends_at: datetime | None) -> None:
    octets = bytes.fromhex(TOKENS.make(Purpose.LEAVE, 7, ends_at=ends_at))
    for bit in range(8 * len(octets)):
        flipped = bytearray(octets)
        flipped[bit // 8] ^= 1 << bit % 8
        assert TOKENS.read(Purpose.LEAVE, flipped.hex(), now=NOW) is None
    for length in range(len(octets)):
        assert TOKENS.read(Purpose.LEAVE, octets[:length].hex(), now=NOW) is None
        assert TOKENS.read(Purpose.LEAVE, octets[length:].hex() if length else "", now=NOW) is None


@given(st.text() | st.binary().map(bytes.hex))
def test_what_is_no_token_is_none(text: str) -> None:
    assert all(TOKENS.read(purpose, text, now=NOW) is None for purpose in Purpose)


def test_a_megabyte_is_none() -> None:
    assert TOKENS.read(Purpose.LEAVE, "ab" * 500_000, now=NOW) is None


def test_a_token_with_an_end_is_good_until_the_hour_is_over_by_a_clock_that_is_five_minutes_ahead() -> None:
    token = TOKENS.make(Purpose.PREFERENCES, 7, ends_at=NOW)
    assert TOKENS.read(Purpose.PREFERENCES, token, now=NOW + timedelta(minutes=34, seconds=59)) == 7
    assert TOKENS.read(Purpose.PREFERENCES, token, now=NOW + timedelta(minutes=35)) is None


def test_an_older_secrets_tokens_are_read_while_it_is_known() -> None:
    token = Tokens(OTHER).make(Purpose.LEAVE, 7)
    assert TOKENS.read(Purpose.LEAVE, token, now=NOW) is None
    rotated = Tokens(SECRET, [b"another secret, older still", OTHER])
    assert rotated.read(Purpose.LEAVE, token, now=NOW) == 7
    assert rotated.make(Purpose.LEAVE, 7) == TOKENS.make(Purpose.LEAVE, 7) != token


def test_secrets_of_any_length_and_with_one_id_are_told_apart() -> None:
    secrets = [b"s" * 16 + str(number).encode() for number in range(300)] + [b"s" * 100, b"s" * 101]
    assert len({Tokens(secret).make(Purpose.LEAVE, 7) for secret in secrets}) == len(secrets)
    everything = Tokens(SECRET, secrets)
    for secret in secrets:
        assert everything.read(Purpose.LEAVE, Tokens(secret).make(Purpose.LEAVE, 9), now=NOW) == 9


def test_a_token_does_not_tell_the_number() -> None:
    """Neighbours have nothing in common but the key's id; 8 hex digits alike by chance are one in 2^32."""
    first, second = (TOKENS.make(Purpose.LEAVE, number) for number in (7, 8))
    assert first[2:10] != second[2:10]
    assert (7).to_bytes(6, "big").hex() not in first


def test_two_purposes_of_one_row_have_nothing_in_common() -> None:
    assert TOKENS.make(Purpose.LEAVE, 7)[2:10] != TOKENS.make(Purpose.PREFERENCES, 7)[2:10]
