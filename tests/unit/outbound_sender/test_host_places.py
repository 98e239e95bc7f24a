"""Connections by destination host."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from services.outbound_sender.host_places import HostFull, HostPlaces

GOOGLE = {"aspmx.example", "192.0.2.1"}


def test_a_host_has_so_many_by_its_name_and_by_its_address() -> None:
    places = HostPlaces()
    places.limit(1)
    assert places.take(GOOGLE) is None
    assert places.take({"aspmx.example", "192.0.2.2"}) == HostFull("aspmx.example")
    assert places.take({"vanity.example", "192.0.2.1"}) == HostFull("192.0.2.1")
    assert places.take({"other.example", "192.0.2.3"}) is None
    places.give_back(GOOGLE)
    assert places.take({"vanity.example", "192.0.2.1"}) is None


def test_a_host_that_is_named_by_its_address_counts_once() -> None:
    places = HostPlaces()
    places.limit(2)
    assert [places.take({"192.0.2.1"}) for _ in range(3)] == [None, None, HostFull("192.0.2.1")]


def test_what_was_refused_a_place_takes_none() -> None:
    places = HostPlaces()
    places.limit(1)
    places.take(GOOGLE)
    places.take({"aspmx.example", "192.0.2.2"})
    assert places.take({"third.example", "192.0.2.2"}) is None


def test_connections_are_counted_while_nothing_is_limited() -> None:
    places = HostPlaces()
    for _ in range(3):
        assert places.take(GOOGLE) is None
    assert not places.has_too_many(GOOGLE)
    places.limit(2)
    assert places.has_too_many(GOOGLE)
    assert places.take(GOOGLE) is not None
    places.give_back(GOOGLE)
    assert not places.has_too_many(GOOGLE)


def test_who_waits_is_told_of_room() -> None:
    places, told = HostPlaces(), list[AbstractSet[str] | None]()
    places.on_room = told.append
    places.limit(1)
    places.take(GOOGLE)
    places.give_back(GOOGLE)
    places.limit(1)
    places.limit(None)
    assert told == [None, GOOGLE, None]
