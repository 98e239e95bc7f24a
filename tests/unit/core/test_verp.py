from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.address import Address
from shared.core.verp import (
    deliveries_named_in,
    delivery_of,
    mailing_of,
    mailing_return_path_local,
    return_path_local,
)

SECRET = b"sixteen octets or more"
_IDS = st.integers(min_value=1, max_value=2**63 - 1)


@given(_IDS)
def test_a_return_path_names_its_delivery_in_any_case(delivery_id: int) -> None:
    local = return_path_local(delivery_id, SECRET)
    assert delivery_of(local, SECRET) == delivery_id
    assert delivery_of(local.upper(), SECRET) == delivery_id
    assert local == local.lower()
    assert len(local) == 42


@given(_IDS)
def test_a_mailings_return_path_names_the_mailing_and_no_delivery(mailing_id: int) -> None:
    local = mailing_return_path_local(mailing_id, SECRET)
    assert mailing_of(local.upper(), SECRET) == mailing_id
    assert delivery_of(local, SECRET) is None
    assert delivery_of("b" + local[1:], SECRET) is None
    assert mailing_of(return_path_local(mailing_id, SECRET), SECRET) is None


def test_a_return_path_is_an_address_and_its_own_key() -> None:
    address = Address.parse(return_path_local(7, SECRET) + "@lists.test")
    assert address.key == address.spelling


def test_every_attempt_has_the_same_return_path() -> None:
    assert return_path_local(7, SECRET) == return_path_local(7, SECRET)


@given(_IDS, st.integers(min_value=0, max_value=159))
def test_no_bit_can_be_changed(delivery_id: int, bit: int) -> None:
    local = return_path_local(delivery_id, SECRET)
    position = 2 + bit // 4
    changed = f"{int(local[position], 16) ^ (1 << bit % 4):x}"
    assert delivery_of(local[:position] + changed + local[position + 1 :], SECRET) is None


def test_a_secret_counts_to_its_last_octet() -> None:
    assert delivery_of(return_path_local(7, b"x" * 100 + b"y"), b"x" * 100 + b"z") is None


def test_a_return_path_made_with_another_secret_is_none_of_ours() -> None:
    assert delivery_of(return_path_local(7, b"another secret, quite"), SECRET) is None


@given(st.text(max_size=50))
def test_any_other_local_part_is_no_return_path(local: str) -> None:
    assert delivery_of(local, SECRET) is None
    assert delivery_of("b+" + local, SECRET) is None


@pytest.mark.parametrize(
    "changed",
    [
        "prvs=0123456789=b+{}",
        "PRVS=0123456789=B+{}",
        "prvs=b+{}/0123456789",
        "btv1==01234567==b+{}",
        "b={}",
        "b-{}",
        "b_{}",
        "b.{}",
        "b{}",
    ],
)
def test_a_return_path_survives_what_servers_do_to_it(changed: str) -> None:
    token = return_path_local(7, SECRET)[2:]
    assert delivery_of(changed.format(token), SECRET) == 7
    assert delivery_of(changed.format(token[:-1] + ("0" if token[-1] != "0" else "1")), SECRET) is None


def test_return_paths_are_found_in_a_text_and_forged_ones_are_not() -> None:
    ours = [return_path_local(number, SECRET) for number in (7, 8)]
    forged = return_path_local(9, b"another secret, quite")
    text = f"Return-Path: <{ours[0]}@lists.test>\nX: {forged}@x {ours[1].upper()}@x m{ours[0][1:]}"
    assert list(deliveries_named_in(text, SECRET)) == [7, 8]
