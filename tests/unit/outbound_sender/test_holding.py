"""What holds a node back, since when, and for how many recipients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY

from services.outbound_sender.holding import Holding
from shared.core.limits import HeldBack, Limit

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_limit_holds_since_it_was_first_met() -> None:
    holding = Holding()
    holding.look({Limit.MAX_CONNECTIONS: 5}, NOON)
    holding.look({Limit.MAX_CONNECTIONS: 7}, after(3))
    assert holding.held_back == (HeldBack(Limit.MAX_CONNECTIONS, NOON, 7),)


def test_a_moment_without_it_does_not_count_and_a_second_does() -> None:
    holding = Holding()
    holding.look({Limit.MAX_CONNECTIONS: 5}, NOON)
    holding.look({}, after(0.9))
    holding.look({Limit.MAX_CONNECTIONS: 3}, after(1.5))
    assert holding.held_back == (HeldBack(Limit.MAX_CONNECTIONS, NOON, 3),)
    holding.look({}, after(2.6))
    assert not holding.held_back
    holding.look({Limit.MAX_CONNECTIONS: 1}, after(3))
    assert holding.held_back == (HeldBack(Limit.MAX_CONNECTIONS, after(3), 1),)


def test_several_limits_hold_each_its_own() -> None:
    holding = Holding()
    holding.look({Limit.MAX_CONNECTIONS_PER_HOST: 5}, NOON)
    holding.look({Limit.MAX_CONNECTIONS_PER_HOST: 5, Limit.MAX_MESSAGES_PER_SECOND: 90}, after(1))
    assert set(holding.held_back) == {
        HeldBack(Limit.MAX_CONNECTIONS_PER_HOST, NOON, 5),
        HeldBack(Limit.MAX_MESSAGES_PER_SECOND, after(1), 90),
    }


def test_the_metrics_say_the_same() -> None:
    holding = Holding()

    def metric(name: str, limit: Limit) -> float | None:
        return REGISTRY.get_sample_value(f"listfleet_limit_waiting_{name}", {"limit": limit})

    holding.look({Limit.MAX_MESSAGES_PER_HOUR: 1234}, NOON)
    assert metric("recipients", Limit.MAX_MESSAGES_PER_HOUR) == 1234
    assert metric("since_timestamp_seconds", Limit.MAX_MESSAGES_PER_HOUR) == NOON.timestamp()
    assert metric("recipients", Limit.MAX_CONNECTIONS) == 0
    holding.look({}, after(2))
    assert metric("recipients", Limit.MAX_MESSAGES_PER_HOUR) == 0
