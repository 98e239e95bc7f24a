"""A post to 1,000 members over 4 nodes."""

from __future__ import annotations

from deploy.local.live_cluster import LiveCluster

MEMBERS = 1000


def test_every_member_gets_one_copy_and_every_node_sends_its_share(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.sink.latency_seconds = 0.05
    news = cluster.create_list("news", members=MEMBERS)

    message = cluster.post(news, "To everybody")
    mailing = cluster.wait_until_finished(message, 60)

    copies = cluster.sink.copies_per_recipient()
    assert len(copies) == MEMBERS
    assert set(copies.values()) == {1}
    shares = {node: count / MEMBERS for node, count in cluster.sink.copies_per_node().items()}
    assert len(shares) == 4
    assert all(0.15 <= share <= 0.35 for share in shares.values()), shares
    assert cluster.api.mailing(mailing)["delivered"] == MEMBERS


NAMING_A_NODE: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("POST", "/lists", {"name": "a", "domain": "lists.test", "node": "outbound-1"}),
    ("POST", "/lists/{news}/members", {"email": "a@b.test", "node": "outbound-1"}),
    ("PATCH", "/nodes/outbound-1/settings", {"only_lists": ["news@lists.test"]}),
    ("PATCH", "/node-defaults", {"node": "outbound-1"}),
)


def test_no_request_can_name_the_node_that_shall_send(running_cluster: LiveCluster) -> None:
    news = running_cluster.create_list("news")

    for method, path, body in NAMING_A_NODE:
        answer = running_cluster.api.request(method, path.format(news=news), json=body)
        assert answer.status_code == 422, path
        assert answer.headers["content-type"].startswith("application/problem+json")
