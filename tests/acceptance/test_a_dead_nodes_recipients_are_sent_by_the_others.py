"""A node freezes in the middle of a mailing, another is killed in the next one; the frozen one wakes after a minute.

The stories share a cluster, and the minute: it is a real one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from deploy.local.cluster import Service
from deploy.local.live_cluster import LiveCluster, wait_until

MEMBERS = 3000
FROZEN_SECONDS = 60


@pytest.fixture(scope="module")
async def four_nodes(
    make_cluster: Callable[[str], AbstractAsyncContextManager[LiveCluster]],
) -> AsyncIterator[LiveCluster]:
    async with make_cluster("dead-nodes") as cluster:
        cluster.sink.latency_seconds = 0.02
        cluster.start(outbound=4)
        cluster.create_list("news", members=MEMBERS)
        yield cluster


@dataclass(frozen=True, slots=True)
class Frozen:
    """The node that was frozen in the middle of the mailing."""

    node: Service
    since_seconds: float
    open_connections: int
    message: str


@pytest.fixture(scope="module")
def frozen(four_nodes: LiveCluster) -> Frozen:
    message = _start_a_mailing(four_nodes, "To everybody")
    open_connections = four_nodes.sink.open_connections_of("outbound-2")
    node = four_nodes.node("outbound-2")
    node.freeze()
    return Frozen(node, time.monotonic(), open_connections, message)


def test_a_frozen_nodes_recipients_are_sent_by_the_others(four_nodes: LiveCluster, frozen: Frozen) -> None:
    four_nodes.sink.wait_for_recipients(MEMBERS, 40 - (time.monotonic() - frozen.since_seconds))

    four_nodes.wait_until_finished(frozen.message, 30)
    assert four_nodes.sink.extra_copies() <= frozen.open_connections


def test_a_dead_nodes_recipients_are_sent_by_the_others(four_nodes: LiveCluster, frozen: Frozen) -> None:
    cluster = four_nodes
    cluster.start_outbound()[0].wait_until_ready()  # in the place of the frozen one, so that it is one of four
    message = _start_a_mailing(cluster, "While one is frozen")

    open_connections = cluster.sink.open_connections_of("outbound-3")
    cluster.node("outbound-3").kill()
    killed_seconds = time.monotonic()
    cluster.sink.wait_for_recipients(MEMBERS, 40 - (time.monotonic() - killed_seconds), subject="While one is frozen")

    cluster.wait_until_finished(message, 30)
    assert cluster.sink.extra_copies("While one is frozen") <= open_connections
    left = wait_until(lambda: _left(cluster, "outbound-3"), 30)
    assert (left["state"], left["left_because"]) == ("left", "lost")


@pytest.mark.long
def test_a_node_that_was_frozen_for_a_minute_joins_again(four_nodes: LiveCluster, frozen: Frozen) -> None:
    cluster = four_nodes
    cluster.wait_until_finished(frozen.message, 60)
    wait_until(lambda: time.monotonic() - frozen.since_seconds > FROZEN_SECONDS, FROZEN_SECONDS + 1)
    frozen.node.thaw()

    wait_until(lambda: cluster.api.get("/nodes/outbound-2")["state"] == "live", 30)
    again = cluster.post(f"news@{cluster.domain}", "Again")
    cluster.wait_until_finished(again, 60)
    assert cluster.sink.extra_copies("To everybody", "Again") <= frozen.open_connections
    assert any(copy.subject == "Again" for copy in cluster.sink.copies_of("outbound-2"))
    assert len(cluster.sink.copies_per_recipient("Again")) == MEMBERS


def _start_a_mailing(cluster: LiveCluster, subject: str) -> str:
    """The message, of which a quarter was sent."""
    message = cluster.post(f"news@{cluster.domain}", subject)
    cluster.sink.wait_for_recipients(MEMBERS // 4, 30, subject=subject)
    return message


def _left(cluster: LiveCluster, name: str) -> dict[str, object] | None:
    node: dict[str, object] = cluster.api.get(f"/nodes/{name}")
    return node if node["state"] == "left" else None
