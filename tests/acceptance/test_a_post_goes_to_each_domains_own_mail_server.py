"""Delivery by MX: the servers of a test's own DNS, each domain to its own."""

from __future__ import annotations

from typing import Any

from deploy.local.dns_server import Records, dns_server_in_a_thread
from deploy.local.live_cluster import LiveCluster, wait_until

RECORDS: Records = {
    ("one.test", "MX"): ["10 mx.one.test."],
    ("mx.one.test", "A"): ["127.0.0.1"],
    # Nobody listens at the better exchanger: the next one gets it.
    ("two.test", "MX"): ["10 dead.two.test.", "20 mx.two.test."],
    ("dead.two.test", "A"): ["127.0.0.9"],
    ("mx.two.test", "A"): ["127.0.0.1"],
    ("three.test", "A"): ["127.0.0.1"],
    ("nomail.test", "MX"): ["0 ."],
    ("broken.test", "ANY"): "SERVFAIL",
}
EXPECTED = {
    "one.test": ("delivered", "delivered"),
    "two.test": ("delivered", "delivered"),
    "three.test": ("delivered", "delivered"),
    "nomail.test": ("refused", "refused"),
    "nowhere.test": ("refused", "refused"),
    "broken.test": ("open", "deferred"),
}


def test_a_post_goes_to_each_domains_own_mail_server(cluster: LiveCluster) -> None:
    with dns_server_in_a_thread(RECORDS) as dns:
        cluster.start(
            outbound=1,
            delivery="mx",
            dns_resolver=f"127.0.0.1:{dns.port}",
            remote_smtp_port=str(cluster.sink.port),
            allow_private_hosts="true",
        )
        news = cluster.create_list("news")
        cluster.import_members(news, [f"m{number}@{domain}" for domain in EXPECTED for number in range(5)])
        message = cluster.post(news, "By MX")
        deliveries = wait_until(lambda: _all_tried(cluster, message, 5 * len(EXPECTED)), 40)

    outcomes = {
        (delivery["recipient"].partition("@")[2], delivery["state"], delivery["attempts"][-1]["outcome"])
        for delivery in deliveries
    }
    assert outcomes == {(domain, state, outcome) for domain, (state, outcome) in EXPECTED.items()}
    assert len(cluster.sink.copies_per_recipient()) == 15
    assert cluster.sink.extra_copies() == 0


def _all_tried(cluster: LiveCluster, message: str, count: int) -> list[dict[str, Any]] | None:
    mailing = cluster.api.mailing_id_of(message)
    tried = [] if mailing is None else [d for d in cluster.api.deliveries(mailing) if d["attempts"]]
    return tried if len(tried) == count else None
