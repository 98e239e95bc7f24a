"""An administrator limits a node, lifts the limit, and switches its sending off, while mail flows."""

from __future__ import annotations

import time

from deploy.local.live_cluster import LiveCluster, wait_until

#: A setting is in force within two seconds; half a second more is the machine's, when it is busy.
SOON = 2.5
#: A busy machine may hold messages up for so long between the node's pacing and the sink. What was held up arrives
#: together with what is sent afterwards: of a node that keeps to its rate, a window sees what is due in it and in so
#: long before it, and one more.
STALL = 0.5


def _sent_since(cluster: LiveCluster, node: str, since_seconds: float) -> int:
    return sum(copy.received_seconds >= since_seconds for copy in cluster.sink.copies_of(node))


def _holds_back(cluster: LiveCluster, node: str, limit: str) -> bool:
    """Whether recipients in the node's hands wait for the limit, as the API says."""
    held_back = cluster.api.get(f"/nodes/{node}")["held_back"]
    return any(held["limit"] == limit and held["recipients"] for held in held_back)


def test_a_node_keeps_to_its_messages_per_second_and_joins_again(running_cluster: LiveCluster) -> None:
    cluster, members = running_cluster, 3600
    cluster.sink.latency_seconds = 0.02
    news = cluster.create_list("news", members=members)
    nodes = [node.name for node in cluster.nodes]
    for node in nodes:  # so that the mailing lasts while the limit is measured, however fast the machine is
        cluster.api.set_node(node, max_messages_per_second=120)
    message = cluster.post(news, "To everybody")
    cluster.sink.wait_for_recipients(members // 8, 30)

    per_second = 20  # a sixth of what each of the others sends
    cluster.api.set_node("outbound-2", max_messages_per_second=per_second)
    limited_seconds = time.monotonic() + SOON
    wait_until(lambda: _holds_back(cluster, "outbound-2", "max_messages_per_second"), 10)
    wait_until(lambda: time.monotonic() > limited_seconds + 4, 10)
    assert len(cluster.sink.copies_per_recipient()) < members, "all this time there was something to send"
    measured_until_seconds = time.monotonic()

    while_limited = [
        copy.received_seconds
        for copy in cluster.sink.copies_of("outbound-2")
        if limited_seconds <= copy.received_seconds <= measured_until_seconds
    ]
    measured = measured_until_seconds - limited_seconds
    assert _most_in_a_second(while_limited) <= per_second * (1 + STALL) + 1
    assert len(while_limited) <= per_second * (measured + STALL) + 1
    # How much of it a node uses is the machine's affair, when it is busy.
    assert len(while_limited) >= per_second * measured / 4, "it goes on"

    for node in nodes:
        cluster.api.inherit_node_settings(node)
    lifted_seconds = time.monotonic() + SOON
    cluster.wait_until_finished(message, 90)
    wait_until(lambda: time.monotonic() > lifted_seconds, 10)
    cluster.wait_until_finished(cluster.post(news, "Again"), 90)
    assert _sent_since(cluster, "outbound-2", lifted_seconds) > members / 12, "lifted, it takes its share"
    assert len(cluster.sink.copies_per_recipient("To everybody")) == members
    assert cluster.sink.extra_copies() == 0


def test_a_node_whose_sending_is_off_takes_nothing_more(running_cluster: LiveCluster) -> None:
    cluster, members = running_cluster, 3000
    cluster.sink.latency_seconds = 0.02
    news = cluster.create_list("news", members=members)
    message = cluster.post(news, "To everybody")
    cluster.sink.wait_for_recipients(members // 5, 30)

    cluster.api.set_node("outbound-2", sending_enabled=False)
    off_seconds = time.monotonic() + SOON
    cluster.wait_until_finished(message, 60)

    assert _sent_since(cluster, "outbound-2", off_seconds) == 0
    assert len(cluster.sink.copies_per_recipient()) == members
    assert cluster.sink.extra_copies() == 0


def test_a_node_has_no_more_connections_than_it_may(running_cluster: LiveCluster) -> None:
    cluster, members = running_cluster, 2000
    sink = cluster.sink
    sink.latency_seconds = 0.05
    news = cluster.create_list("news", members=members)
    cluster.api.set_node("outbound-2", max_connections=4)
    wait_until(lambda: sink.open_connections_of("outbound-2") <= 4, SOON)
    sink.reset()
    sink.latency_seconds = 0.05
    message = cluster.post(news, "To everybody")
    sink.wait_for_recipients(members // 4, 30)
    assert sink.most_open_connections_of("outbound-2") == 4, "it uses what it may"
    assert sink.most_open_connections_of("outbound-3") > 4

    cluster.api.set_node("outbound-2", max_connections=1)
    wait_until(lambda: sink.open_connections_of("outbound-2") == 1, SOON)
    limited_seconds = time.monotonic()
    wait_until(lambda: _sent_since(cluster, "outbound-2", limited_seconds) >= 10, 10)
    wait_until(lambda: _holds_back(cluster, "outbound-2", "max_connections"), 10)
    assert sink.open_connections_of("outbound-2") == 1
    assert sink.most_open_connections_of("outbound-2") == 4, "and never more"

    cluster.api.inherit_node_settings("outbound-2")  # with one connection it would be the last by far
    cluster.wait_until_finished(message, 60)
    assert len(sink.copies_per_recipient()) == members
    assert sink.extra_copies() == 0


def _most_in_a_second(moments: list[float]) -> int:
    moments = sorted(moments)
    return max(sum(first <= moment < first + 1 for moment in moments) for first in moments)
