"""Two nodes are lost in the middle of a mailing, one killed and one frozen; the frozen one wakes, and joins again."""

from __future__ import annotations

import time
from functools import partial

import pytest

from deploy.local.live_cluster import LiveCluster, wait_until

MEMBERS = 3000


def test_a_dead_and_a_frozen_nodes_recipients_are_sent_by_the_others(running_cluster: LiveCluster) -> None:
    _two_nodes_are_lost_and_one_joins_again(running_cluster, frozen_seconds=0)


@pytest.mark.long
def test_a_node_that_was_frozen_for_a_minute_joins_again(running_cluster: LiveCluster) -> None:
    _two_nodes_are_lost_and_one_joins_again(running_cluster, frozen_seconds=60)


def _two_nodes_are_lost_and_one_joins_again(cluster: LiveCluster, frozen_seconds: float) -> None:
    """One is frozen until the others have sent everything, and for so long at least."""
    sink, frozen, dead = cluster.sink, cluster.node("outbound-2"), cluster.node("outbound-3")
    sink.latency_seconds = 0.02
    news = cluster.create_list("news", members=MEMBERS)
    message = cluster.post(news, "To everybody")
    sink.wait_for_recipients(MEMBERS // 4, 30)
    open_connections = sum(sink.open_connections_of(node.name) for node in (frozen, dead))
    frozen.freeze()
    try:
        lost_seconds = time.monotonic()
        dead.kill()
        sink.wait_for_recipients(MEMBERS, 40)
        cluster.wait_until_finished(message, 30)
        assert sink.extra_copies() <= open_connections
        for name in (frozen.name, dead.name):
            assert wait_until(partial(_left_because, cluster, name), 30) == "lost"
        wait_until(lambda: time.monotonic() - lost_seconds > frozen_seconds, frozen_seconds + 10)
    finally:
        frozen.thaw()

    wait_until(lambda: cluster.api.get(f"/nodes/{frozen.name}")["state"] == "live", 30)
    again = cluster.post(news, "Again")
    cluster.wait_until_finished(again, 60)
    assert sink.extra_copies("To everybody", "Again") <= open_connections
    assert any(copy.subject == "Again" for copy in sink.copies_of(frozen.name))
    assert len(sink.copies_per_recipient("Again")) == MEMBERS


def _left_because(cluster: LiveCluster, name: str) -> str | None:
    because: str | None = cluster.api.get(f"/nodes/{name}")["left_because"]
    return because
