"""A recipient whose message kills the node that sends it: set aside after five deaths, and sent when that is over."""

from __future__ import annotations

import pytest

from deploy.local.catching_smtp import CaughtMessage
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.sink import node_of

POISON = "member-7@members.test"
MEMBERS = 20
LEASE_SECONDS = "4"


@pytest.mark.long
def test_a_message_that_kills_its_nodes_is_parked_and_can_be_sent(cluster: LiveCluster) -> None:
    sink = cluster.sink
    cluster.start_admin()
    cluster.start_ingress()
    cluster.start_scheduler(lease_seconds=LEASE_SECONDS)
    cluster.start_outbound(2, lease_seconds=LEASE_SECONDS)
    cluster.processes.wait_until_ready()
    news = cluster.create_list("news", members=MEMBERS)
    sink.answer(POISON, "451 4.2.0 later", times=1)
    message = cluster.post(news, "Hello")
    mailing_id = wait_until(lambda: cluster.api.mailing_id_of(message), 10)
    wait_until(lambda: cluster.api.mailing(mailing_id)["delivered"] == MEMBERS - 1, 20)
    wait_until(lambda: any(d["attempts"] for d in cluster.api.deliveries(mailing_id, state="open")), 10)

    deaths = 0

    def kill_the_sender(caught: CaughtMessage) -> str | None:
        nonlocal deaths
        if POISON in caught.recipients:
            deaths += 1
            cluster.node(node_of(caught.session)).kill()
        return None

    def restart_the_dead() -> bool:
        for node in cluster.nodes:
            if not node.is_running:
                node.restart()
        return bool(cluster.api.mailing(mailing_id)["parked"] == 1)

    sink.reply_to_message = kill_the_sender  # type: ignore[method-assign, assignment]
    retried = cluster.api.request("POST", f"/mailings/{mailing_id}/deliveries/retry", json={"state": ["open"]})
    assert retried.json() == {"deliveries": 1}
    wait_until(restart_the_dead, 120)
    assert deaths == 5
    wait_until(lambda: cluster.api.mailing(mailing_id)["state"] == "finished", 10)
    (parked,) = cluster.api.pages("/parked")
    assert (parked["kind"], parked["recipient"], parked["mailing_id"]) == ("delivery", POISON, mailing_id)

    # The cause is gone.
    del sink.reply_to_message
    sink.reset()
    cluster.processes.wait_until_ready()
    assert cluster.api.request("POST", f"/parked/{parked['id']}/retry").status_code == 202
    wait_until(lambda: cluster.api.mailing(mailing_id)["state"] == "finished", 20)
    mailing = cluster.api.mailing(mailing_id)
    assert (mailing["delivered"], mailing["parked"]) == (MEMBERS, 0)
    assert sink.copies_per_recipient() == {POISON: 1}
    assert list(cluster.api.pages("/parked")) == []
