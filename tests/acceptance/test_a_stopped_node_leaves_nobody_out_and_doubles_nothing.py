"""A node is told to stop in the middle of a mailing."""

from __future__ import annotations

import pytest

from deploy.local.live_cluster import LiveCluster

MEMBERS = 3000


def test_a_stopped_node_leaves_nobody_out_and_doubles_nothing(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.sink.latency_seconds = 0.02
    news = cluster.create_list("news", members=MEMBERS)
    message = cluster.post(news, "To everybody")
    cluster.sink.wait_for_recipients(MEMBERS // 4, 30)

    stopped = cluster.node("outbound-2")
    stopped.terminate()
    assert stopped.wait(60) == 0
    cluster.wait_until_finished(message, 60)

    assert len(cluster.sink.copies_per_recipient()) == MEMBERS
    assert cluster.sink.extra_copies() == 0
    node = cluster.api.get("/nodes/outbound-2")
    assert (node["state"], node["left_because"]) == ("left", "drained")
    assert node["left_at"] is not None


@pytest.mark.long
def test_a_rolling_restart_of_all_nodes_doubles_nothing(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.sink.latency_seconds = 0.02
    news = cluster.create_list("news", members=MEMBERS)
    message = cluster.post(news, "To everybody")

    for number, node in enumerate(cluster.nodes, start=1):
        cluster.sink.wait_for_recipients(MEMBERS * number // 6, 30)
        node.terminate()
        assert node.wait(60) == 0
        node.restart()
    cluster.wait_until_finished(message, 60)

    assert len(cluster.sink.copies_per_recipient()) == MEMBERS
    assert cluster.sink.extra_copies() == 0
