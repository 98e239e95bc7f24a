from __future__ import annotations

import pytest

from shared.core.address import Address
from shared.core.courtesy import CountedAs, has_room, peer_and_network


@pytest.mark.parametrize(
    ("of_the_list", "in_all", "room"), [(0, 0, True), (0, 2, True), (1, 1, False), (0, 3, False), (1, 3, False)]
)
def test_a_mailbox_gets_one_confirmation_a_list_and_three_in_all(of_the_list: int, in_all: int, room: bool) -> None:
    assert has_room(CountedAs.CONFIRMATION, of_the_list=of_the_list, in_all=in_all) is room


def test_answers_have_a_bound_of_their_own() -> None:
    assert has_room(CountedAs.ANSWER, of_the_list=9, in_all=9)
    assert not has_room(CountedAs.ANSWER, of_the_list=0, in_all=10)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("192.0.2.7", ("192.0.2.7", "192.0.2.0/24")),
        ("::ffff:192.0.2.7", ("192.0.2.7", "192.0.2.0/24")),
        ("2001:db8:1:2:3::4", ("2001:db8:1:2:3::4", "2001:db8:1:2::/64")),
        ("", ("", "")),
        ("unix", ("unix", "unix")),
    ],
)
def test_a_client_is_counted_by_its_address_and_its_network(host: str, names: tuple[str, str]) -> None:
    assert peer_and_network(host) == names


def test_variants_of_one_mailbox_are_counted_together() -> None:
    variants = ["ann@example.com", "A.n.n@EXAMPLE.com", "ann+x@example.com", '"a.nn"@example.com', "ann+@example.com"]
    assert {Address.parse(variant).counting_key for variant in variants} == {"ann@example.com"}
    assert Address.parse("ann@bücher.example").counting_key == "ann@xn--bcher-kva.example"
    assert Address.parse("+x@example.com").counting_key == "+x@example.com"
    assert Address.parse("anna@example.com").counting_key != "ann@example.com"
