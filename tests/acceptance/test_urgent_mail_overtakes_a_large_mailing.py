"""While large mailings keep all nodes busy: posts within 5 s, express mail within 2 s, an even share for two of a kind,
and a list with a limit at its own pace."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter

import pytest

from deploy.local.live_cluster import LiveCluster, wait_until

LARGE = 200_000
OTHERS = 5_000
#: So that the nodes are busy all the while, however many recipients they put into a transaction.
BUSY = {"max_connections": 20, "max_messages_per_second": 100}


@pytest.mark.long
def test_urgent_mail_overtakes_a_large_mailing(cluster: LiveCluster) -> None:
    cluster.sink.latency_seconds = 0.1
    cluster.start(outbound=2)
    for node in cluster.nodes:
        cluster.api.set_node(node.name, **BUSY)
    first = cluster.create_list("first", members=LARGE, lane="bulk")
    second = cluster.create_list("second", members=OTHERS, lane="bulk")
    large = cluster.create_list("large", members=OTHERS)
    small = cluster.create_list("small")
    cluster.import_members(small, [f"small-{number}@small.test" for number in range(10)])
    paced = cluster.create_list("paced", max_messages_per_hour=3600)
    cluster.import_members(paced, [f"paced-{number}@paced.test" for number in range(200)])

    cluster.post(first, "First newsletter")
    cluster.sink.wait_for_recipients(500, 30)
    cluster.post(second, "Second newsletter")
    cluster.post(paced, "Paced")
    cluster.sink.wait_for_recipients(200, 20, subject="Second newsletter")
    assert _is_even(_sent_in(cluster, 8), "First newsletter", "Second newsletter")

    cluster.post(large, "Large post")
    cluster.sink.wait_for_recipients(300, 20, subject="Large post")
    for round_number in range(3):
        posted_seconds = time.monotonic()
        cluster.post(small, f"Small post {round_number}")
        cluster.post(f"postmaster@{cluster.domain}", f"Help {round_number}")
        cluster.sink.wait_for_recipients(1, 2, subject=f"Help {round_number}")
        _join(cluster, small, f"joins-{round_number}.test", confirmed_within_seconds=2)
        cluster.sink.wait_for_recipients(
            10, posted_seconds + 5 - time.monotonic(), subject=f"Small post {round_number}"
        )
    sent = _sent_in(cluster, 5)
    bulk = sent["First newsletter"] + sent["Second newsletter"]
    assert 0.1 < bulk / (bulk + sent["Large post"]) < 0.35, "a fifth is bulk's, also while posts wait"

    times = cluster.sink.times_of("paced.test")
    assert len(times) >= 0.8 * (times[-1] - times[0]), "it uses what it may"
    for seconds in (1, 10):
        assert _busiest(times, seconds) <= seconds + 2
    for subject, members in (
        ("First newsletter", LARGE),
        ("Second newsletter", OTHERS),
        ("Large post", OTHERS),
    ):
        assert len(cluster.sink.copies_per_recipient(subject)) < members, "all the while, the nodes were busy"


def _join(cluster: LiveCluster, list_address: str, at: str, *, confirmed_within_seconds: float) -> None:
    """Somebody new asks to join, and is asked to confirm."""
    name, _, domain = list_address.partition("@")
    request = f"From: new@{at}\r\nSubject: join\r\n\r\n".encode()
    cluster.post_bytes(f"{name}-join@{domain}", request, sender=f"new@{at}")
    wait_until(lambda: cluster.sink.times_of(at), confirmed_within_seconds)


def _sent_in(cluster: LiveCluster, seconds: float) -> Counter[str]:
    """How many messages of each subject came within so long from now on."""
    began_seconds = time.monotonic()
    cluster.sink.wait_until(lambda _: time.monotonic() > began_seconds + seconds, seconds + 5)
    return Counter(copy.subject for copy in list(cluster.sink.copies) if copy.received_seconds > began_seconds)


def _is_even(sent: Counter[str], one: str, other: str) -> bool:
    return 0.7 < sent[one] / sent[other] < 1.4


def _busiest(moments: list[float], seconds: float) -> int:
    """The most in any window of that length."""
    return max(bisect_left(moments, first + seconds) - place for place, first in enumerate(moments))
