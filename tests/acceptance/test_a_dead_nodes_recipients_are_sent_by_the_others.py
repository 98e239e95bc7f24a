"""A node is killed, or freezes, in the middle of a mailing."""

from __future__ import annotations

import time

from deploy.local.live_cluster import LiveCluster, wait_until

MEMBERS = 3000


def _start_a_mailing(cluster: LiveCluster) -> str:
    cluster.sink.latency_seconds = 0.02
    cluster.start(outbound=4)
    news = cluster.create_list("news", members=MEMBERS)
    message = cluster.post(news, "To everybody")
    cluster.sink.wait_for_recipients(MEMBERS // 4, 30)
    return message


def test_a_dead_nodes_recipients_are_sent_by_the_others(cluster: LiveCluster) -> None:
    message = _start_a_mailing(cluster)

    open_connections = cluster.sink.open_connections_of("outbound-2")
    cluster.node("outbound-2").kill()
    killed_seconds = time.monotonic()
    cluster.sink.wait_for_recipients(MEMBERS, 40 - (time.monotonic() - killed_seconds))

    cluster.wait_until_finished(message, 10)
    assert cluster.sink.extra_copies() <= open_connections
    left = wait_until(lambda: _left(cluster, "outbound-2"), 10)
    assert (left["state"], left["left_because"]) == ("left", "lost")


def test_a_frozen_nodes_recipients_are_sent_by_the_others_and_it_joins_again(cluster: LiveCluster) -> None:
    message = _start_a_mailing(cluster)

    open_connections = cluster.sink.open_connections_of("outbound-2")
    frozen = cluster.node("outbound-2")
    frozen.freeze()
    frozen_seconds = time.monotonic()
    cluster.sink.wait_for_recipients(MEMBERS, 40)
    cluster.wait_until_finished(message, 10)
    wait_until(lambda: time.monotonic() - frozen_seconds > 60, 61)
    frozen.thaw()

    wait_until(lambda: cluster.api.get("/nodes/outbound-2")["state"] == "live", 10)
    assert cluster.sink.extra_copies() <= open_connections
    copies_before = len(cluster.sink.copies_of("outbound-2"))
    second = cluster.post("news@lists.test", "Again")
    cluster.wait_until_finished(second, 60)
    assert cluster.sink.extra_copies() <= open_connections
    assert len(cluster.sink.copies_of("outbound-2")) > copies_before
    assert len(cluster.sink.copies_per_recipient("Again")) == MEMBERS


def _left(cluster: LiveCluster, name: str) -> dict[str, object] | None:
    node: dict[str, object] = cluster.api.get(f"/nodes/{name}")
    return node if node["state"] == "left" else None
