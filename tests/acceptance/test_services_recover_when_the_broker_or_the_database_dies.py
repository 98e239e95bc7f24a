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
    assert len(cluster.sink.copies_per_recipient("To everybody")) == MEMBERS
    assert cluster.sink.extra_copies() <= extra_copies_allowed
    assert all(service.exit_code is None for service in cluster.processes.services)


def test_a_killed_rabbitmq_loses_and_doubles_nothing_and_posts_are_taken_meanwhile(
    running_cluster: LiveCluster,
) -> None:
    cluster, node = running_cluster, running_cluster.node("outbound-1")
    few = cluster.create_list("few", members=50)
    message = _start_a_mailing(cluster)

    cluster.broker.kill()
    node.wait_until(lambda: not node.is_ready(), 20)
    stored = cluster.post(few, "Stored")
    cluster.broker.start()
    node.wait_until_ready(30)
    cluster.wait_until_finished(message, 90)
    cluster.wait_until_finished(stored, 60)

    _assert_everybody_has_it(cluster, extra_copies_allowed=0)
    assert len(cluster.sink.copies_per_recipient("Stored")) == 50


def test_a_killed_postgresql_loses_nothing(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    message = _start_a_mailing(cluster)

    open_connections = sum(cluster.sink.open_connections_of(node.name) for node in cluster.nodes)
    cluster.database.kill()
    cluster.database.start()
    cluster.wait_until_finished(message, 90)

    _assert_everybody_has_it(cluster, extra_copies_allowed=open_connections)


def test_everybody_gets_the_post_when_all_queues_are_deleted(running_cluster: LiveCluster) -> None:
    cluster, patient = running_cluster, running_cluster.node("scheduler-1")
    sweeper = cluster.start_scheduler(republish_after_seconds="5")
    sweeper.wait_until_ready()
    patient.terminate()  # what it releases is published again after 30 s
    assert patient.wait(30) == 0
    message = _start_a_mailing(cluster)

    cluster.delete_all_queues()
    cluster.wait_until_finished(message, 60)

    patient.restart()
    _assert_everybody_has_it(cluster, extra_copies_allowed=0)
    sweeper.stop()
    cluster.processes.services.remove(sweeper)  # it is not to run again
