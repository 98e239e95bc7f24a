"""A domain that refuses for volume is slowed down by itself and speeds up again; the API says why; others are not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deploy.local.live_cluster import LiveCluster, wait_until

REFUSAL = "450 4.7.1 Too many messages from you"


@pytest.mark.long
def test_a_domain_that_gets_too_much_is_slowed_down(cluster: LiveCluster) -> None:
    cluster.sink.latency_seconds = 0.1
    cluster.start(outbound=1)
    news = cluster.create_list("news")
    cluster.import_members(news, [f"m{number}@busy.test" for number in range(3000)])
    cluster.sink.answer("@busy.test$", REFUSAL, times=150)
    cluster.post(news, "To everybody")

    def slowed() -> Any:
        return next((limit for limit in cluster.api.get("/domain-limits") if limit["slowed_to_per_minute"]), None)

    first = wait_until(slowed, 25)
    assert (first["pattern"], first["is_automatic"], first["slowed_because"]) == ("busy.test", True, REFUSAL)
    # What is under way was released before; then the moments are those of the new rate.
    cluster.sink.wait_until(
        lambda sink: _rate(sink.times_of("busy.test"), 3) <= 1.2 * first["slowed_to_per_minute"], 20
    )

    friends = cluster.create_list("friends")
    cluster.import_members(friends, [f"m{number}@free.test" for number in range(100)])
    cluster.post(friends, "To friends")
    cluster.sink.wait_for_recipients(100, 5, subject="To friends")
    wait_until(lambda: (slowed() or first)["slowed_to_per_minute"] > first["slowed_to_per_minute"], 30)


def _rate(moments: list[float], seconds: float) -> float:
    """Messages a minute in the last so many seconds."""
    now = time.monotonic()
    return sum(now - seconds < at for at in moments) * 60 / seconds
