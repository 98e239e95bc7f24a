"""A newsletter to two lists and a segment is written, approved and scheduled, paused while it runs, and arrives: once
at each member, with the member's own words and links."""

from __future__ import annotations

import email
import email.policy
import re
import time
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

from deploy.local.live_cluster import LiveCluster, wait_until

PUBLIC_URL = "https://lists.test"
#: Members 1 to 200 are on the first list, 151 to 350 on the second; every seventh is not in the segment.
FIRST, SECOND = range(1, 201), range(151, 351)
MEANT = {number for number in range(1, 351) if number % 7}
#: So slow that what is left takes longer than a pause takes to be in force.
RATE_PER_NODE = 20
#: Within this time of the API's answer a pause or a cancel is in force on every node.
IN_FORCE_SECONDS = 5.0
HTML = (
    '<html><body><p>Dear {{first_name|friend}}, {{#if city = "Bonn"}}<a href="https://shop.test/bonn">see us</a>{{/if}}'
    '</p><p><a href="{{unsubscribe_url}}">Leave</a></p></body></html>'
)


def _rows(prefix: str, numbers: range) -> list[str]:
    cities = {number: "Bonn" if number % 7 else "Cologne" for number in numbers}
    return ["email,first_name,city", *(f"m-{n}@members.test,{prefix}{n},{cities[n]}" for n in numbers)]


def _act(cluster: LiveCluster, path: str, **body: Any) -> Any:
    answer = cluster.api.request("POST", path, **({"json": body} if body else {}))
    assert answer.is_success, answer.text
    return answer.json()


def _times(cluster: LiveCluster) -> list[float]:
    return [copy.received_seconds for copy in list(cluster.sink.copies)]


def _copies(cluster: LiveCluster) -> dict[int, tuple[EmailMessage, str]]:
    """By number of the member: the message, and its HTML."""
    found = {}
    for copy in list(cluster.sink.copies):
        message = email.message_from_bytes(copy.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        part = message.get_body(("html",))
        assert part is not None
        found[int(copy.recipient.removeprefix("m-").partition("@")[0])] = (message, str(part.get_content()))
    return found


def test_a_scheduled_newsletter_is_paused_and_arrives_once_at_each_member(cluster: LiveCluster) -> None:
    cluster.sink.keeps_contents = True
    cluster.start_admin(public_url=PUBLIC_URL)
    for _ in range(2):
        cluster.start_scheduler(public_url=PUBLIC_URL)
    cluster.start_outbound(2, public_url=PUBLIC_URL)
    cluster.processes.wait_until_ready()
    lists = [cluster.create_list("news", tracking="full"), cluster.create_list("more")]
    for address, rows in zip(lists, (_rows("A", FIRST), _rows("B", SECOND)), strict=True):
        assert cluster.api.import_members(address, rows)["rejected"] == 0
    for node in ("outbound-1", "outbound-2"):
        cluster.api.set_node(node, max_messages_per_second=RATE_PER_NODE)

    new = {"name": "October", "subject": "Hello {{first_name|friend}}", "html": HTML, "lists": lists}
    path = f"/newsletters/{_act(cluster, '/newsletters', **new, segment={'field': 'city', 'equals': 'Bonn'})['id']}"
    assert _act(cluster, f"{path}/approve")["state"] == "approved"
    at = datetime.now(UTC) + timedelta(seconds=2)
    assert _act(cluster, f"{path}/schedule", at=at.isoformat())["state"] == "scheduled"

    # Paused while it runs, and resumed.
    cluster.sink.wait_for_recipients(len(MEANT) // 6, 30)
    newsletter = cluster.api.get(path)
    (mailing,) = newsletter["mailings"]
    assert datetime.fromisoformat(newsletter["schedule"]["latest_run"]["due_at"]) == at
    assert newsletter["schedule"]["latest_run"]["result"]["mailing_id"] == mailing["mailing_id"]
    _act(cluster, f"/mailings/{mailing['mailing_id']}/pause")
    answered = time.monotonic()
    assert cluster.api.get(path)["state"] == "paused"
    wait_until(lambda: time.monotonic() > max(_times(cluster)) + 1.5, 20)
    assert len(_times(cluster)) < len(MEANT)
    assert max(_times(cluster)) <= answered + IN_FORCE_SECONDS
    _act(cluster, f"/mailings/{mailing['mailing_id']}/resume")
    for node in ("outbound-1", "outbound-2"):
        cluster.api.set_node(node, max_messages_per_second=None)
    wait_until(lambda: cluster.api.get(path)["state"] == "finished", 60)

    # Once, with the words of the list that reached them, and links of their own.
    assert len(cluster.sink.copies) == len(MEANT)
    assert set(cluster.sink.copies_per_node()) == {"outbound-1", "outbound-2"}
    copies = _copies(cluster)
    assert set(copies) == MEANT
    links, ways_out = set(), set()
    for number, (message, html) in copies.items():
        name = f"{'A' if number in FIRST else 'B'}{number}"
        assert message["Subject"] == f"Hello {name}"
        assert f"Dear {name}," in html
        links |= set(re.findall(rf'"({PUBLIC_URL}/c/[^"]+)"', html))
        ways_out |= set(re.findall(rf'"({PUBLIC_URL}/leave/[^"]+)"', html))
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert len(links) == len(ways_out) == len(MEANT)
    counted = cluster.api.mailing(mailing["mailing_id"])
    assert (counted["recipients"], counted["delivered"]) == (len(MEANT), len(MEANT))

    # The same again, cancelled while it runs: who has none yet gets none.
    for node in ("outbound-1", "outbound-2"):
        cluster.api.set_node(node, max_messages_per_second=RATE_PER_NODE)
    path = f"/newsletters/{_act(cluster, '/newsletters', **new, segment={'field': 'city', 'equals': 'Bonn'})['id']}"
    _act(cluster, f"{path}/approve")
    _act(cluster, f"{path}/schedule", at=datetime.now(UTC).isoformat())
    cluster.sink.wait_until(lambda sink: len(sink.copies) >= len(MEANT) * 7 // 6, 30)
    (mailing,) = cluster.api.get(path)["mailings"]
    _act(cluster, f"/mailings/{mailing['mailing_id']}/cancel")
    answered = time.monotonic()
    wait_until(lambda: cluster.api.mailing(mailing["mailing_id"])["state"] == "finished", 20)
    wait_until(lambda: time.monotonic() > max(_times(cluster)) + 1.5, 20)
    assert max(_times(cluster)) <= answered + IN_FORCE_SECONDS
    delivered = len(cluster.sink.copies) - len(MEANT)
    assert delivered < len(MEANT)
    counted = cluster.api.mailing(mailing["mailing_id"])
    assert (counted["delivered"], counted["cancelled"]) == (delivered, len(MEANT) - delivered)
