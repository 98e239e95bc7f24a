"""A next hop that takes every 20th message and then drops the connection: nobody is left out, few get a second copy."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from deploy.local.live_cluster import LiveCluster, wait_until
from tests.integration import stored


def test_a_connection_lost_after_the_dot_costs_one_second_copy(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.sink.drops_every = 20
    news = cluster.create_list("news", members=200)
    message = cluster.post(news, "Dropped")
    mailing = wait_until(lambda: cluster.api.mailing_id_of(message), 20)
    wait_until(lambda: _attempts(cluster, mailing) == 200, 40)
    unknown = _recipients_by_outcome(cluster, mailing, "unknown")
    assert sorted(unknown) == sorted(dropped.recipients[0] for dropped in cluster.sink.dropped)
    assert len(unknown) == 10

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _let_retries_be_due(cluster.database_url)).result(10)
    cluster.wait_until_finished(message, 40)

    copies = cluster.sink.copies_per_recipient()
    assert len(copies) == 200
    # What was taken and not answered comes a second time, and nothing else does.
    assert {recipient for recipient, count in copies.items() if count > 1} == set(unknown)
    assert cluster.sink.extra_copies() == 10
    assert {delivery["state"] for delivery in cluster.api.deliveries(mailing)} == {"delivered"}


def _attempts(cluster: LiveCluster, mailing: int) -> int:
    return sum(len(delivery["attempts"]) for delivery in cluster.api.deliveries(mailing))


def _recipients_by_outcome(cluster: LiveCluster, mailing: int, outcome: str) -> list[str]:
    return [
        delivery["recipient"]
        for delivery in cluster.api.deliveries(mailing)
        if any(attempt["outcome"] == outcome for attempt in delivery["attempts"])
    ]


async def _let_retries_be_due(database_url: str) -> None:
    async with stored.connected(database_url) as connection:
        await connection.execute("UPDATE outstanding SET due_at = now() WHERE due_at > now()")
