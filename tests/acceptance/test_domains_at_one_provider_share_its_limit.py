"""A limit on the mail exchanger: all domains whose mail it takes share it, found out before or at the connection."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import pytest

from deploy.local.dns_server import Records, dns_server_in_a_thread
from deploy.local.live_cluster import LiveCluster

DOMAINS = [f"customer-{number}.test" for number in range(20)]
NARROW = [f"shop-{number}.test" for number in range(6)]
RECORDS: Records = {
    **{(domain, "MX"): [f"10 mx{number % 3}.provider.test."] for number, domain in enumerate(DOMAINS)},
    **{(f"mx{number}.provider.test", "A"): ["127.0.0.1"] for number in range(3)},
    **{(domain, "MX"): ["10 mx.narrow.test."] for domain in NARROW},
    ("mx.narrow.test", "A"): ["127.0.0.1"],
    ("free.test", "MX"): ["10 mx.free.test."],
    ("mx.free.test", "A"): ["127.0.0.1"],
}


@pytest.mark.long
def test_domains_at_one_provider_share_its_limit(cluster: LiveCluster) -> None:
    cluster.sink.latency_seconds = 0.02
    # The schedulers' DNS knows half of the domains; about the others only the nodes find out, at the connection.
    half = {(name, kind): answer for (name, kind), answer in RECORDS.items() if name not in DOMAINS[::2]}
    with dns_server_in_a_thread(RECORDS) as dns, dns_server_in_a_thread(half) as half_dns:
        cluster.start_admin()
        cluster.start_ingress()
        cluster.start_scheduler(dns_resolver=f"127.0.0.1:{half_dns.port}")
        cluster.start_outbound(
            2,
            delivery="mx",
            dns_resolver=f"127.0.0.1:{dns.port}",
            remote_smtp_port=str(cluster.sink.port),
            allow_private_hosts="true",
        )
        cluster.processes.wait_until_ready()
        cluster.api.limit_domain("mx:*.provider.test", connections=2, messages_per_minute=600)
        cluster.api.limit_domain("mx:mx.narrow.test", connections=2, messages_per_connection=3)
        news = cluster.create_list("news")
        members = [f"m{number}@{domain}" for domain in DOMAINS + NARROW for number in range(5)]
        cluster.import_members(news, [*members, *(f"m{number}@free.test" for number in range(50))])
        message = cluster.post(news, "To everybody")
        cluster.wait_until_finished(message, 60)

    limited = sorted(at for domain in DOMAINS for at in cluster.sink.times_of(domain))
    assert len(limited) == 100
    assert max(bisect_left(limited, first + 5) - place for place, first in enumerate(limited)) <= 10 * 5.5 + 1
    assert cluster.sink.most_open_connections_to(*DOMAINS) <= 2
    carried = sum((cluster.sink.messages_a_connection_to(domain) for domain in NARROW), Counter())
    assert carried.total() == 30
    assert max(carried.values()) <= 3
    assert cluster.sink.most_open_connections_to(*NARROW) <= 2
    assert cluster.sink.times_of("free.test")[-1] < limited[-1], "who goes elsewhere waits for nobody"
    assert cluster.sink.extra_copies() == 0
