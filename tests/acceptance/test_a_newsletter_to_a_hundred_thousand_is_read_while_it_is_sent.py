"""100,000 members, chosen by a segment, get their own signed copies by four nodes, and follow their links meanwhile."""

from __future__ import annotations

import binascii
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dkim
import httpx
import pytest

from deploy.local.dns_server import dns_server_in_a_thread, txt
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.sink import Copy, Sink

MEANT = 100_000
#: Every eleventh member is not in the segment.
MEMBERS = MEANT * 11 // 10
PEOPLE, MACHINES = 900, 100
SECONDS_AHEAD = 5
#: Nobody has read anything sooner: who does is counted as a machine.
READ_AFTER_SECONDS = 5.0
TARGET = "https://shop.test/offer?page=1&of=2"
HTML = (
    "<html><body><p>Dear {{first_name|friend}}, "
    f'<a href="{TARGET.replace("&", "&amp;")}">have a look</a>{{{{#if plan = "gold"}}}}, it is free{{{{/if}}}}.</p>'
    '<p><a href="{{unsubscribe_url}}">Leave</a></p></body></html>'
)
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
SCANNER = {"User-Agent": "Mozilla/5.0 (compatible; Barracuda Sentinel)"}


def _is_meant(number: int) -> bool:
    return bool(number % 11)


def _first_name(number: int) -> str:
    return f"N{number}" if number % 2 else ""


def _rows() -> Iterator[str]:
    yield "email,first_name,city,plan"
    for number in range(1, MEMBERS + 1):
        city, plan = "Bonn" if _is_meant(number) else "Cologne", "free" if number % 10 else "gold"
        yield f"m-{number}@members.test,{_first_name(number)},{city},{plan}"


def _number(copy: Copy) -> int:
    return int(copy.recipient.removeprefix("m-").partition("@")[0])


def _text(copy: Copy) -> str:
    """Its parts out of quoted-printable; its header, which is none, may come out garbled."""
    return binascii.a2b_qp(copy.content).decode("utf-8", "replace")


class Readers(threading.Thread):
    """Some read their copies while others are still on their way: people open and click, scanners only click."""

    def __init__(self, sink: Sink, ports: list[int]) -> None:
        super().__init__(name="readers")
        self._sink = sink
        self._clients = [httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=30) for port in ports]
        #: The answers to clicks, by status and where they lead.
        self.answers: Counter[tuple[int, str]] = Counter()
        self.opened: Counter[int] = Counter()
        self.ended_seconds = 0.0

    def run(self) -> None:
        for reader in range(PEOPLE + MACHINES):
            self._read(reader, self._copy(reader))
        self.ended_seconds = time.monotonic()

    def _copy(self, place: int) -> Copy:
        def look() -> Copy | None:
            copies = self._sink.copies
            is_old = len(copies) > place and copies[place].received_seconds < time.monotonic() - READ_AFTER_SECONDS
            return copies[place] if is_old else None

        return wait_until(look, 60)

    def _read(self, reader: int, copy: Copy) -> None:
        text = _text(copy)
        (click,), (image,) = (re.findall(rf'"[^"]*(/{kind}/[^"]+)"', text) for kind in "co")
        client = self._clients[reader % len(self._clients)]
        is_person = reader < PEOPLE
        if is_person:
            self.opened[client.get(image, headers=PERSON).status_code] += 1
        answer = client.get(click, headers=PERSON if is_person else SCANNER)
        self.answers[answer.status_code, answer.headers.get("Location", "")] += 1


def _act(cluster: LiveCluster, path: str, **body: Any) -> Any:
    answer = cluster.api.request("POST", path, **({"json": body} if body else {}))
    assert answer.is_success, answer.text
    return answer.json()


@pytest.mark.long
def test_a_newsletter_to_a_hundred_thousand_is_read_while_it_is_sent(cluster: LiveCluster) -> None:
    sink = cluster.sink
    sink.keeps_contents = True
    public_url = f"http://{LOOPBACK}:{cluster.tracking_port}"
    ports = [cluster.tracking_port, free_port()]
    records: dict[tuple[str, str], list[str] | str] = {}
    with dns_server_in_a_thread(records) as dns:
        cluster.start_admin(public_url=public_url, dns_resolver=f"{LOOPBACK}:{dns.port}")
        for port in ports:
            cluster.start_tracking(public_url=public_url, tracking_port=str(port))
        for _ in range(2):
            cluster.start_scheduler(public_url=public_url)
        cluster.start_outbound(4, public_url=public_url)
        cluster.processes.wait_until_ready()
        news = cluster.create_list("news", tracking="full")
        key = _act(cluster, "/dkim-keys", domain=cluster.domain, selector="first")
        published: str = key["record"]["text"]
        records[key["record"]["name"], "TXT"] = [txt(published)]
        _act(cluster, f"/dkim-keys/{key['id']}/check")
        _act(cluster, f"/dkim-keys/{key['id']}/activate")
    imported = cluster.api.import_members(news, _rows())
    assert (imported["added"], imported["rejected"]) == (MEMBERS, 0)

    segment = {"field": "city", "equals": "Bonn"}
    assert _act(cluster, "/segments/count", lists=[news], segment=segment)["members"] == MEANT
    new = {"name": "All", "subject": "Hello {{first_name|friend}}", "html": HTML, "lists": [news], "segment": segment}
    path = f"/newsletters/{_act(cluster, '/newsletters', **new)['id']}"
    _act(cluster, f"{path}/approve")
    at = datetime.now(UTC) + timedelta(seconds=SECONDS_AHEAD)
    due_seconds = time.monotonic() + (at - datetime.now(UTC)).total_seconds()
    _act(cluster, f"{path}/schedule", at=at.isoformat())
    readers = Readers(sink, ports)
    readers.start()
    wait_until(lambda: cluster.api.get(path)["state"] == "finished", 600, every_seconds=0.5)
    readers.join(60)

    # Once at everybody who is meant, at no other, not before its time, and by all four nodes.
    copies = list(sink.copies)
    assert Counter(map(_number, copies)) == Counter(filter(_is_meant, range(1, MEMBERS + 1)))
    assert min(copy.received_seconds for copy in copies) >= due_seconds
    per_node = sink.copies_per_node()
    assert len(per_node) == 4
    assert all(0.15 * MEANT <= count <= 0.35 * MEANT for count in per_node.values()), per_node

    # Each has its own words and links, and a signature.
    links: set[str] = set()
    for copy in copies:
        number, text = _number(copy), _text(copy)
        name = _first_name(number) or "friend"
        assert copy.subject == f"Hello {name}"
        assert f"<p>Dear {name}, " in text
        assert ("it is free" in text) == (number % 10 == 0)
        links |= set(re.findall(rf'"({public_url}/(?:c|o|leave)/[^"]+)"', text))
    assert len(links) == 3 * MEANT
    for copy in copies[:: MEANT // 200]:
        assert dkim.verify(copy.content, dnsfunc=lambda _name, **_: published.encode())

    # What was read meanwhile led where it should, and is counted: people apart from machines.
    assert readers.ended_seconds < max(copy.received_seconds for copy in copies), "all of it while others waited"
    assert readers.answers == {(302, TARGET): PEOPLE + MACHINES}
    assert readers.opened == {200: PEOPLE}
    (mailing,) = cluster.api.get(path)["mailings"]
    mailing_id = mailing["mailing_id"]

    def read() -> Any:
        counted = cluster.api.get(f"/mailings/{mailing_id}/statistics")
        return counted if counted["clicks"]["total"] + counted["clicks"]["machine_total"] == PEOPLE + MACHINES else None

    counted = wait_until(read, 60)
    for kind, by_machines in (("opens", 0), ("clicks", MACHINES)):
        found = counted[kind]
        assert (found["unique"], found["total"]) == (PEOPLE, PEOPLE)
        assert (found["machine_unique"], found["machine_total"]) == (by_machines, by_machines)
    assert [link["url"] for link in counted["links"]] == [TARGET]
    state = cluster.api.mailing(mailing_id)
    assert (state["recipients"], state["delivered"], counted["delivered"]) == (MEANT, MEANT, MEANT)
