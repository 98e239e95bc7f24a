"""A mailing is paused, loses recipients to suppression, is cancelled, and is sent again, all of it while it runs."""

from __future__ import annotations

import time
from typing import Any

from deploy.local.live_cluster import LiveCluster, wait_until

MEMBERS = 1200
#: Of all nodes together, in messages a second.
RATE = 120
#: From the API's 2xx until nothing that it forbids begins any more.
IN_FORCE_SECONDS = 5.0


def _act(cluster: LiveCluster, path: str, **body: Any) -> Any:
    answer = cluster.api.request("POST", path, **({"json": body} if body else {}))
    assert answer.is_success, answer.text
    return answer.json()


def _begin(cluster: LiveCluster, news: str, subject: str) -> int:
    message = cluster.post(news, subject)
    return wait_until(lambda: cluster.api.mailing_id_of(message), 10)


def _state(cluster: LiveCluster, mailing_id: int) -> str:
    return str(cluster.api.mailing(mailing_id)["state"])


def _counts(cluster: LiveCluster, mailing_id: int) -> dict[str, int]:
    mailing = cluster.api.mailing(mailing_id)
    names = ("open", "delivered", "refused", "unknown", "expired", "suppressed", "cancelled", "parked")
    return {name: mailing[name] for name in names if mailing[name]}


def test_a_mailing_is_paused_loses_suppressed_recipients_is_cancelled_and_sent_again(
    running_cluster: LiveCluster,
) -> None:
    cluster, sink = running_cluster, running_cluster.sink
    for node in cluster.nodes:
        cluster.api.set_node(node.name, max_messages_per_second=RATE // len(cluster.nodes))
    news = cluster.create_list("news", members=MEMBERS)
    everybody = {f"member-{number}@{cluster.members_domain}" for number in range(1, MEMBERS + 1)}

    # Paused and resumed, with nobody lost or doubled.
    first = _begin(cluster, news, "First")
    sink.wait_for_recipients(MEMBERS // 6, 30, subject="First")
    _act(cluster, f"/mailings/{first}/pause")
    paused_seconds = time.monotonic()
    wait_until(lambda: time.monotonic() > paused_seconds + IN_FORCE_SECONDS, 10)
    while_paused = len(sink.copies_per_recipient("First"))
    wait_until(lambda: time.monotonic() > paused_seconds + IN_FORCE_SECONDS + 1, 10)
    assert len(sink.copies_per_recipient("First")) == while_paused < MEMBERS
    _act(cluster, f"/mailings/{first}/resume")

    # Suppressed at 50 %: nothing to them begins afterwards, in whatever spelling they are named.
    sink.wait_for_recipients(MEMBERS // 2, 30, subject="First")
    suppressed: dict[str, float] = {}
    for email in sorted(everybody - set(sink.copies_per_recipient("First")))[::40]:
        _act(cluster, "/suppressions", email=email.upper())
        suppressed[email] = time.monotonic()
    wait_until(lambda: _state(cluster, first) == "finished", 60)
    begun = {copy.recipient: copy.received_seconds for copy in list(sink.copies) if copy.recipient in suppressed}
    assert not {email for email, at in begun.items() if at > suppressed[email] + IN_FORCE_SECONDS}
    assert len(begun) < len(suppressed) / 2, "most of them were waiting still"
    left_out = len(suppressed) - len(begun)
    assert _counts(cluster, first) == {"delivered": MEMBERS - left_out, "suppressed": left_out}
    assert sink.extra_copies() == 0

    # Cancelled in the middle.
    second = _begin(cluster, news, "Second")
    sink.wait_for_recipients(MEMBERS // 6, 30, subject="Second")
    _act(cluster, f"/mailings/{second}/cancel")
    cancelled_seconds = time.monotonic()
    wait_until(lambda: _state(cluster, second) == "finished", 20)
    delivered = len(sink.copies_per_recipient("Second"))
    assert all(
        copy.received_seconds < cancelled_seconds + IN_FORCE_SECONDS for copy in sink.copies if copy.subject == "Second"
    )
    open_recipients = MEMBERS - len(suppressed)
    assert delivered < open_recipients / 2
    assert _counts(cluster, second) == {
        "delivered": delivered,
        "cancelled": open_recipients - delivered,
        "suppressed": len(suppressed),
    }

    # Refused by the peer, and sent again when it takes them, one by name and the others by what they came to.
    for node in cluster.nodes:
        cluster.api.set_node(node.name, max_messages_per_second=None)
    sink.answer(r"member-1\d\d@", "550 5.7.1 not from you")
    sink.answer(r"member-2\d\d@", "451 4.2.1 not now")
    third = _begin(cluster, news, "Third")
    wait_until(lambda: _counts(cluster, third).get("open", MEMBERS) <= 100, 60)
    refused = _counts(cluster, third)["refused"]
    sink.take_everything()
    one = next(iter(cluster.api.deliveries(third, state="refused")))
    assert _act(cluster, f"/mailings/{third}/deliveries/{one['id']}/retry") == {"deliveries": 1}
    wait_until(lambda: _counts(cluster, third)["refused"] == refused - 1, 10)
    assert _act(cluster, f"/mailings/{third}/deliveries/retry", outcome="refused") == {"deliveries": refused - 1}
    domain = cluster.members_domain.upper()
    assert _act(cluster, f"/mailings/{third}/deliveries/retry", state=["open"], domain=domain)["deliveries"]
    wait_until(lambda: _state(cluster, third) == "finished", 30)
    assert _counts(cluster, third) == {"delivered": open_recipients, "suppressed": len(suppressed)}
    assert set(sink.copies_per_recipient("Third").values()) == {1}
    again = next(delivery for delivery in cluster.api.deliveries(third) if delivery["id"] == one["id"])
    assert (again["round"], [attempt["round"] for attempt in again["attempts"]]) == (2, [1, 2])
