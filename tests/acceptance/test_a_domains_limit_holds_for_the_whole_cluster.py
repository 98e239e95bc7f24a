"""Limits of recipient domains hold whatever nodes come and die, and what waits for them is in nobody's way."""

from __future__ import annotations

import time
from bisect import bisect_left

import pytest

from deploy.local.live_cluster import LiveCluster, wait_until

LEASE = "4"
PER_MINUTE = 300
#: More than a minute has room for.
SLOW = 400


@pytest.mark.long
def test_a_domains_limit_holds_for_the_whole_cluster(cluster: LiveCluster) -> None:
    cluster.sink.latency_seconds = 0.05
    cluster.start_admin()
    cluster.start_ingress()
    for _ in range(2):
        cluster.start_scheduler(lease_seconds=LEASE)
    cluster.start_outbound(3, lease_seconds=LEASE)
    cluster.processes.wait_until_ready()
    cluster.api.limit_domain("slow.test", connections=6, messages_per_minute=PER_MINUTE)
    cluster.api.limit_domain("*.narrow.test", connections=2, messages_per_connection=5)
    news = cluster.create_list("news")
    cluster.import_members(
        news,
        [
            *(f"slow-{number}@slow.test" for number in range(SLOW)),
            *(f"narrow-{number}@mail.narrow.test" for number in range(200)),
            *(f"free-{number}@free.test" for number in range(3000)),
        ],
    )
    posted_seconds = time.monotonic()
    message = cluster.post(news, "To everybody")
    (joined,) = cluster.start_outbound(1, lease_seconds=LEASE)

    cluster.sink.wait_until(lambda sink: len(sink.times_of("free.test")) == 3000, 25)
    assert len(cluster.sink.times_of("slow.test")) < SLOW / 2, "it waited for nobody who is limited"
    cluster.node("outbound-1").kill()
    wait_until(lambda: len(cluster.sink.times_of("slow.test")) > SLOW / 2, 60)
    cluster.node("outbound-2").terminate()
    cluster.start_outbound(1, lease_seconds=LEASE)
    cluster.wait_until_finished(message, 90)

    slow = cluster.sink.times_of("slow.test")
    assert len(cluster.sink.copies_per_recipient()) == 3200 + SLOW
    assert _busiest(slow, 60) <= PER_MINUTE
    # Smooth too: each starts within half a second of its own moment.
    assert _busiest(slow, 10) <= PER_MINUTE / 60 * 10.5 + 1
    assert _busiest(slow, 1) <= PER_MINUTE / 60 * 1.5 + 1
    assert slow[-1] - posted_seconds < 1.5 * 60 * SLOW / PER_MINUTE, "it used what it may"
    assert cluster.sink.most_open_connections_to("slow.test") <= 6
    assert cluster.sink.most_open_connections_to("mail.narrow.test") <= 2
    assert max(cluster.sink.messages_a_connection_to("mail.narrow.test").values()) <= 5
    assert cluster.sink.copies_of(joined.name), "any node with room sends it"


def _busiest(moments: list[float], seconds: float) -> int:
    """The most in any window of that length."""
    return max(bisect_left(moments, first + seconds) - place for place, first in enumerate(moments))
