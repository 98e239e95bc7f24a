from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.address import InvalidAddress
from shared.core.list_address import MAX_NAME_CHARACTERS, Door, DoorAddress, list_address


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
    "name",
    [
        "postmaster",
        "Abuse",
        "b+x",
        "m+x",
        "team-owner",
        "team-request",
        "team-unsubscribe",
        "team-join",
        "team-confirm",
        "confirm+ab",
        "a-leave+b",
    ],
)
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidAddress, match="something else"):
        list_address(name, "example.org")


@pytest.mark.parametrize("domain", ["", "[127.0.0.1]", "exa mple.org", "x" * 300, "a\nb.org", "other.org@example.org"])
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(InvalidAddress):
        list_address("team", domain)


@pytest.mark.parametrize(
    ("local", "door"),
    [
        ("team-join", DoorAddress(Door.JOIN, "team")),
        ("team-subscribe", DoorAddress(Door.JOIN, "team")),
        ("team-x-unsubscribe", DoorAddress(Door.LEAVE, "team-x")),
        ("team-leave+0a1b", DoorAddress(Door.LEAVE, "team", "0a1b")),
        ("team+x-confirm+0a1b", DoorAddress(Door.CONFIRM, "team+x", "0a1b")),
        ("confirm+0a1b", DoorAddress(Door.CONFIRM, "", "0a1b")),
        ("team-owner", DoorAddress(Door.OWNER, "team")),
        ("team-bounces", DoorAddress(Door.BOUNCES, "team")),
        *((local, None) for local in ("team", "team-confirm", "-join", "join", "team-join+0a", "team-confirm+", "")),
    ],
)
def test_a_lists_other_addresses_are_told_by_their_endings(local: str, door: DoorAddress | None) -> None:
    assert DoorAddress.parse(local) == door


@given(st.text() | st.from_regex(r"[a-z+-]*(confirm|leave|join)\+?[0-9a-f]*", fullmatch=True))
def test_any_local_part_is_read(local: str) -> None:
    found = DoorAddress.parse(local)
    if found is not None and found.token and found.list_name:
        assert found.list_name in local


def test_an_address_with_a_token_names_the_list_where_there_is_room() -> None:
    token = "0" * 34
    assert DoorAddress(Door.CONFIRM, "team", token).local == f"team-confirm+{token}"
    assert DoorAddress(Door.CONFIRM, "t" * MAX_NAME_CHARACTERS, token).local == f"confirm+{token}"
    assert DoorAddress(Door.JOIN, "t" * MAX_NAME_CHARACTERS).local.endswith("-join")
