"""Each limit of a node, set while it runs, and measured at the next hop by the times and bytes of what comes there."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest

from deploy.local.dns_server import Records, dns_server_in_a_thread
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK
from deploy.local.sink import Sink

MEMBERS = 40
NODE = "outbound-1"
#: In force within so long.
SOON = 2.0
MEGABIT_BYTES = 125_000
#: By another name the first domain's host is the same host.
RECORDS: Records = {
    ("crowded.test", "MX"): ["10 mx.crowded.test."],
    ("mx.crowded.test", "A"): ["127.0.0.1"],
    ("vanity.test", "MX"): ["10 mx.vanity.test."],
    ("mx.vanity.test", "A"): ["127.0.0.1"],
    ("other.test", "MX"): ["10 mx.other.test."],
    ("mx.other.test", "A"): ["127.0.0.2"],
}


@pytest.mark.long
def test_lanes_hourly_messages_megabits_and_connections_to_a_relay(cluster: LiveCluster) -> None:
    sink = cluster.sink
    cluster.start(outbound=2)
    news = cluster.create_list("news", members=MEMBERS)

    # The other node serves other lanes, so that all posts are this node's.
    cluster.api.set_node("outbound-2", lanes=["express", "bulk"])
    _set(cluster, NODE, max_messages_per_hour=36_000)
    began_seconds = time.monotonic()
    message = cluster.post(news, "By the hour")
    since_at, _ = wait_until(lambda: _held_back(cluster, "max_messages_per_hour"), 10, every_seconds=0.2)
    sink.wait_for_recipients(MEMBERS // 2, 20)
    assert _held_back(cluster, "max_messages_per_hour")[0] == since_at
    assert _metric(cluster, 'listfleet_limit_waiting_recipients{limit="max_messages_per_hour"}') > 0
    wait_until(lambda: 8 <= cluster.api.get(f"/nodes/{NODE}")["rate_per_second"] <= 11, 10, every_seconds=0.2)
    cluster.wait_until_finished(message)
    assert set(sink.copies_per_node()) == {NODE}
    assert sink.highest_rate_of(NODE) <= 11, "spread over the hour, no burst at its start"
    times = [copy.received_seconds for copy in sink.copies_of(NODE)]
    assert times[-1] - times[0] <= 1.5 * MEMBERS / 10 and times[0] - began_seconds < 10, "it sends what it may"
    wait_until(lambda: not cluster.api.get(f"/nodes/{NODE}")["held_back"], 20)

    # Kept over a restart, and the same in the restarted process as it is measured from its first byte.
    cluster.api.set_node(NODE, max_messages_per_hour=None, max_megabits_per_second=4)
    cluster.node(NODE).terminate()
    cluster.node(NODE).wait(20)
    cluster.node(NODE).restart()
    sink.note_arrivals()
    message = cluster.post(news, "By the megabit", body="Hello.\n" * 7000)
    wait_until(lambda: _held_back(cluster, "max_megabits_per_second"), 10, every_seconds=0.2)
    sink.wait_for_recipients(MEMBERS // 2, 30, subject="megabit")
    assert 3.6 <= cluster.api.get(f"/nodes/{NODE}")["megabits_per_second"] <= 4.2
    cluster.wait_until_finished(message)
    assert sink.most_bytes_of(NODE) <= 1.05 * 4 * MEGABIT_BYTES
    took_seconds = sink.arrivals[-1].by_seconds - sink.arrivals[0].by_seconds
    sent_bytes = sum(arrival.size_bytes for arrival in sink.arrivals)
    assert sent_bytes >= 0.7 * 4 * MEGABIT_BYTES * took_seconds, "it sends what it may"

    # Messages a second, and as many batches ahead as it may have.
    _set(cluster, NODE, max_megabits_per_second=None, max_messages_per_second=10, prefetch_batches=7)
    wait_until(lambda: _prefetches(cluster, "send.posts") == [7], 10)
    began_seconds = time.monotonic()
    message = cluster.post(news, "By the second")
    wait_until(lambda: _held_back(cluster, "max_messages_per_second"), 10, every_seconds=0.2)
    cluster.wait_until_finished(message)
    assert sink.highest_rate_of(NODE, since_seconds=began_seconds) <= 11
    times = [copy.received_seconds for copy in sink.copies_of(NODE) if copy.received_seconds > began_seconds]
    assert times[-1] - times[0] <= 1.5 * MEMBERS / 10, "it sends what it may"

    # Connections that are open are closed when there may be fewer.
    _set(cluster, NODE, max_messages_per_second=None)
    sink.latency_seconds = 0.05
    message = cluster.post(news, "Side by side")
    sink.wait_for_recipients(MEMBERS // 3, 20, subject="Side by side")
    assert sink.open_connections_of(NODE) > 3
    _set(cluster, NODE, max_connections_per_host=3)
    assert sink.open_connections_of(NODE) <= 3
    cluster.wait_until_finished(message)
    assert sink.copies_per_recipient().total() == 4 * MEMBERS
    assert sink.extra_copies() == 0
    sink.reset()
    sink.latency_seconds = 0.05
    message = cluster.post(news, "Three by three")
    wait_until(lambda: _held_back(cluster, "max_connections_per_host"), 10)
    cluster.wait_until_finished(message)
    assert sink.most_open_connections == 3
    assert len(sink.copies_per_recipient()) == len(sink.copies) == MEMBERS


@pytest.mark.long
def test_a_host_has_its_connections_and_others_mail_goes_on(
    cluster: LiveCluster, start_sink: Callable[..., Sink]
) -> None:
    crowded = cluster.sink
    crowded.latency_seconds = 0.1
    other = start_sink(host="127.0.0.2", port=crowded.port)
    with dns_server_in_a_thread(RECORDS) as dns:
        # What is set for all nodes holds for one that nobody has seen yet, from its first message on.
        cluster.start_admin()
        cluster.start_ingress()
        cluster.start_scheduler()
        cluster.processes.wait_until_ready()
        cluster.api.set_node_defaults(max_connections_per_host=2)
        cluster.start_outbound(
            delivery="mx",
            dns_resolver=f"{LOOPBACK}:{dns.port}",
            remote_smtp_port=str(crowded.port),
            allow_private_hosts="true",
        )
        cluster.processes.wait_until_ready()
        news = cluster.create_list("news")
        domains = ["crowded.test"] * 40 + ["vanity.test"] * 20 + ["other.test"] * 60
        cluster.import_members(news, [f"m{number}@{domain}" for number, domain in enumerate(domains)])
        message = cluster.post(news, "By MX")
        wait_until(lambda: _held_back(cluster, "max_connections_per_host"), 10)
        cluster.wait_until_finished(message)
        assert crowded.open_connections_of(NODE) == 2, "they are kept"
        _set(cluster, NODE, max_connections_per_host=1)
        assert crowded.open_connections_of(NODE) <= 1

    assert crowded.most_open_connections == 2
    assert other.most_open_connections <= 2
    assert (len(crowded.copies), len(other.copies)) == (60, 60)
    assert crowded.extra_copies() == other.extra_copies() == 0
    in_the_meantime = sum(copy.received_seconds > other.copies[-1].received_seconds for copy in crowded.copies)
    assert in_the_meantime > 15, "the others did not wait for the crowded host"


def _set(cluster: LiveCluster, node: str, **settings: object) -> None:
    """Returns when the settings are in force."""
    cluster.api.set_node(node, **settings)
    time.sleep(SOON)


def _held_back(cluster: LiveCluster, limit: str) -> tuple[str, int]:
    """Since when the node waits for the limit, and for how many recipients; nothing while it waits for none."""
    for held_back in cluster.api.get(f"/nodes/{NODE}")["held_back"]:
        if held_back["limit"] == limit and held_back["recipients"]:
            return held_back["since_at"], held_back["recipients"]
    return ()  # type: ignore[return-value]


def _metric(cluster: LiveCluster, name: str) -> float:
    lines = httpx.get(f"http://{LOOPBACK}:{cluster.node(NODE).health_port}/metrics").text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def _prefetches(cluster: LiveCluster, queue: str) -> list[int]:
    """How many messages RabbitMQ hands ahead to each consumer of the queue."""
    vhost = cluster.broker_url.rpartition("/")[2]
    lines = cluster.broker.run_rabbitmqctl("list_consumers", "-p", vhost, "queue_name", "prefetch_count").splitlines()
    return [int(prefetch) for name, _, prefetch in (line.partition("\t") for line in lines) if name == queue]
