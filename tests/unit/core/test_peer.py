from __future__ import annotations

import pytest

from shared.core.peer import peer_of


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_a_peer_is_an_ipv4_address_or_a_64_of_ipv6(address: str, peer: str) -> None:
    assert peer_of(address) == peer


def test_neighbours_are_other_peers() -> None:
    assert len({peer_of(address) for address in ("192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8:0:1::1")}) == 4
