from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.ingress_smtp.busyness import Busyness
from shared.core.ingress_limits import Busy, BusyBecause

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_node_is_busy_at_once_and_free_after_a_seconds_calm() -> None:
    busyness = Busyness()
    busyness.look(None, NOON)
    assert busyness.busy is None
    busyness.look(BusyBecause.MAX_CONNECTIONS, after(1))
    assert busyness.busy == Busy(BusyBecause.MAX_CONNECTIONS, after(1))
    busyness.look(None, after(1.9))
    assert busyness.busy is not None
    busyness.look(None, after(2.1))
    assert busyness.busy is None


def test_a_node_that_is_soon_busy_again_was_busy_all_the_time() -> None:
    busyness = Busyness()
    busyness.look(BusyBecause.MAX_CONNECTIONS, NOON)
    busyness.look(None, after(0.5))
    busyness.look(BusyBecause.DRAINING, after(0.9))
    assert busyness.busy == Busy(BusyBecause.DRAINING, NOON)
    busyness.look(None, after(1.8))
    assert busyness.busy is not None
