from __future__ import annotations

import pytest

from shared.contracts.topology import Lane
from shared.core.limits import LANES, SETTINGS, Limit, NodeLimits, limits_from, refusal_of


def test_a_node_nobody_configured_has_the_limits_that_are_built_in() -> None:
    assert limits_from({}, {}) == NodeLimits()


def test_what_is_absent_is_inherited_from_the_defaults() -> None:
    limits = limits_from({"max_connections": 5, "prefetch_batches": 2}, {"max_connections": 7})
    assert limits == NodeLimits(max_connections=7, prefetch_batches=2)


def test_null_is_unlimited_and_is_not_the_same_as_absent() -> None:
    assert limits_from({"max_connections": 5}, {"max_connections": None}).max_connections is None
    assert limits_from({"max_messages_per_second": 20.0}, {}).max_messages_per_second == 20.0


def test_what_a_newer_version_wrote_counts_as_absent() -> None:
    assert limits_from({"max_kittens": 3}, {"max_connections": "many"}) == NodeLimits()


def test_lanes_are_served_where_they_are_named_and_all_of_them_where_none_is() -> None:
    limits = limits_from({}, {"lanes": ["bulk", "express"]})
    assert limits.lanes == ("express", "bulk")
    assert [limits.serves(lane) for lane in Lane] == [True, False, True]
    assert all(limits_from({"lanes": ["bulk"]}, {"lanes": None}).serves(lane) for lane in Lane)


def test_the_names_are_those_of_lanes_and_settings() -> None:
    assert list(LANES) == [lane.value for lane in Lane]
    assert {limit.value for limit in Limit} < set(SETTINGS)


@pytest.mark.parametrize("name", [*Limit, "prefetch_batches"])
def test_zero_is_refused_and_the_sentence_names_the_switch(name: str) -> None:
    assert "sending_enabled" in (refusal_of(name, 0) or "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sending_enabled", None),
        ("sending_enabled", 1),
        ("max_connections", True),
        ("max_connections", -1),
        ("max_connections", 2.5),
        ("max_connections", 10_001),
        ("max_messages_per_second", float("nan")),
        ("max_messages_per_second", float("inf")),
        ("max_messages_per_second", 0.0001),
        ("max_messages_per_second", "20"),
        ("max_connections_per_host", 1.5),
        ("max_messages_per_hour", 0.5),
        ("max_megabits_per_second", 0.001),
        ("lanes", []),
        ("lanes", "bulk"),
        ("lanes", ["bulk", "bulk"]),
        ("lanes", ["slow"]),
        ("lanes", [["bulk"]]),
        ("prefetch_batches", None),
        ("prefetch_batches", 1_001),
        ("node", "outbound-1"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: object) -> None:
    assert refusal_of(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sending_enabled", False),
        ("max_connections", 1),
        ("max_connections", None),
        ("max_messages_per_second", 20),
        ("max_messages_per_second", 0.5),
        ("max_messages_per_second", None),
        ("max_connections_per_host", 1),
        ("max_messages_per_hour", 1),
        ("max_messages_per_hour", None),
        ("max_megabits_per_second", 0.01),
        ("lanes", ["bulk"]),
        ("lanes", None),
        ("prefetch_batches", 1_000),
    ],
)
def test_a_value_in_range_is_taken(name: str, value: object) -> None:
    assert refusal_of(name, value) is None
