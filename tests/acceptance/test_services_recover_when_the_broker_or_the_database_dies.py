"""RabbitMQ and PostgreSQL are killed and come back in the middle of a mailing; nobody restarts a service."""

from __future__ import annotations

from deploy.local.live_cluster import LiveCluster

MEMBERS = 3000


def _start_a_mailing(cluster: LiveCluster) -> str:
    cluster.sink.latency_seconds = 0.02
    news = cluster.create_list("news", members=MEMBERS)
    message = cluster.post(news, "To everybody")
    cluster.sink.wait_for_recipients(MEMBERS // 4, 30)
    return message


def _assert_everybody_has_it(cluster: LiveCluster, extra_copies_allowed: int) -> None:
    assert len(cluster.sink.copies_per_recipient()) == MEMBERS
    assert cluster.sink.extra_copies() <= extra_copies_allowed
    assert all(service.exit_code is None for service in cluster.processes.services)


def test_a_killed_rabbitmq_loses_and_doubles_nothing(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    message = _start_a_mailing(cluster)

    cluster.broker.kill()
    cluster.broker.start()
    cluster.wait_until_finished(message, 90)

    _assert_everybody_has_it(cluster, extra_copies_allowed=0)


def test_a_killed_postgresql_loses_nothing(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    message = _start_a_mailing(cluster)

    open_connections = sum(cluster.sink.open_connections_of(node.name) for node in cluster.nodes)
    cluster.database.kill()
    cluster.database.start()
    cluster.wait_until_finished(message, 90)

    _assert_everybody_has_it(cluster, extra_copies_allowed=open_connections)


def test_everybody_gets_the_post_when_all_queues_are_deleted(cluster: LiveCluster) -> None:
    cluster.start_scheduler(republish_after_seconds="5")
    cluster.start(outbound=4, schedulers=0)
    message = _start_a_mailing(cluster)

    cluster.delete_all_queues()
    cluster.wait_until_finished(message, 60)

    _assert_everybody_has_it(cluster, extra_copies_allowed=0)


def test_a_post_stored_while_rabbitmq_is_down_is_delivered_when_it_is_back(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    news = cluster.create_list("news", members=50)

    cluster.broker.stop()
    message = cluster.post(news, "Stored")
    cluster.broker.start()
    cluster.wait_until_finished(message, 60)

    copies = cluster.sink.copies_per_recipient()
    assert len(copies) == 50
    assert set(copies.values()) == {1}
