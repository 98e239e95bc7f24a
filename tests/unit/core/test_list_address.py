from __future__ import annotations

import pytest

from shared.core.address import InvalidAddress
from shared.core.list_address import list_address


def test_name_and_domain_are_kept_in_lower_case_and_ascii() -> None:
    assert list_address("Team.News", "Bücher.Example") == ("team.news", "xn--bcher-kva.example")


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a..b", ".a", "a-", "a\r\nBcc: x", "a%b", "a!b", "ä", "a" * 51, "a@b", "ann\u2028"],
)
def test_a_name_that_is_no_plain_local_part_is_refused(name: str) -> None:
    with pytest.raises(InvalidAddress):
        list_address(name, "example.org")


@pytest.mark.parametrize(
    "name", ["postmaster", "Abuse", "b+x", "m+x", "team-owner", "team-request", "team-unsubscribe"]
)
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidAddress, match="something else"):
        list_address(name, "example.org")


@pytest.mark.parametrize("domain", ["", "[127.0.0.1]", "exa mple.org", "x" * 300, "a\nb.org", "other.org@example.org"])
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(InvalidAddress):
        list_address("team", domain)
