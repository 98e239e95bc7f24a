"""Every command of docs/tutorial.md, as it stands there, with the sink as the readers' mail server.

Only the hundred thousand are fewer here; so many have a story of their own.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.cluster import PROJECT
from deploy.local.dns_server import DnsServer, Records, dns_server_in_a_thread, txt
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK
from tests.acceptance.debian_part import need

PAGE = PROJECT / "docs" / "tutorial.md"
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}


@pytest.fixture
def records() -> dict[tuple[str, str], list[str] | str]:
    return {}


@pytest.fixture
def dns(records: Records) -> Iterator[DnsServer]:
    with dns_server_in_a_thread(records) as server:
        yield server


def test_the_tutorial_can_be_followed(
    cluster: LiveCluster, dns: DnsServer, records: dict[tuple[str, str], list[str] | str], tmp_path: Path
) -> None:
    need("curl", "curl")
    sink = cluster.sink
    sink.keeps_contents = True
    sink.answer("cleo@", "550 5.7.1 not from you", times=1)
    public_url = f"http://{LOOPBACK}:{cluster.tracking_port}"
    cluster.start_admin(public_url=public_url, dns_resolver=f"127.0.0.1:{dns.port}")
    for _ in range(2):
        cluster.start_scheduler(public_url=public_url)
    cluster.start_tracking(public_url=public_url)
    cluster.start_outbound(2, public_url=public_url)
    cluster.processes.wait_until_ready()
    blocks = iter(re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))

    def follow(count: int) -> None:
        """The next so many blocks."""
        for _ in range(count):
            commands = next(blocks).replace("http://127.0.0.1:8080", f"http://{LOOPBACK}:{cluster.admin_port}")
            commands = commands.replace("110000", "1100")
            environment = os.environ | {"TOKEN": cluster.token}
            ran = subprocess.run(
                ["bash", "-e", "-c", commands],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, (commands, ran.stderr, ran.stdout)

    def answer(name: str) -> Any:
        return json.loads((tmp_path / name).read_text())

    follow(3)  # lists, members, the key
    key = answer("key.json")
    records[key["record"]["name"], "TXT"] = [txt(key["record"]["text"])]
    follow(4)  # the key is active, the audience is counted; the newsletter is written, and looked at
    assert answer("audience.json")["members"] == 3
    assert answer("preview.json")["subject"] == "News for you"
    assert [finding["code"] for finding in answer("preflight.json")["findings"]] == ["text_is_made"]
    sink.wait_for_recipients(1, 20, subject="[Test] News for Ann")

    follow(2)  # approved, scheduled, watched
    newsletter = answer("newsletter.json")
    assert (newsletter["state"], newsletter["mailings"][0]["mailing_id"]) == ("finished", 2)
    arrived = {copy.recipient: copy.content.decode() for copy in list(sink.copies) if "[Test]" not in copy.subject}
    assert set(arrived) == {"ann@readers.example", "dan@others.example"}, "cleo's server refused"
    assert all("DKIM-Signature: " in copy for copy in arrived.values())
    anns = arrived["ann@readers.example"].replace("=\r\n", "").replace("=3D", "=")
    (link,), (image,) = (re.findall(rf'"({public_url}/{kind}/[^"]+)"', anns) for kind in "co")
    # Who opens a mail as soon as it is there is a machine.
    arrived_seconds = max(copy.received_seconds for copy in list(sink.copies))
    wait_until(lambda: time.monotonic() > arrived_seconds + 4, 10)
    assert httpx.get(image, headers=PERSON).status_code == 200
    assert httpx.get(link, headers=PERSON).headers["Location"] == "https://shop.example/bonn"
    wait_until(lambda: cluster.api.get("/mailings/2/statistics")["clicks"]["total"], 20)

    follow(1)  # what became of it
    counted = answer("statistics.json")
    assert (counted["delivered"], counted["refused"], counted["links"][0]["url"]) == (2, 1, "https://shop.example/bonn")
    assert len(answer("fate.json")["items"]) == 3
    with (tmp_path / "fate.csv").open(newline="") as file:
        fate = {row["recipient"]: row["reply_text"] for row in csv.DictReader(file)}
    assert fate.keys() == {"ann@readers.example", "cleo@readers.example"}
    assert fate["cleo@readers.example"] == "5.7.1 not from you"

    follow(2)  # again
    assert answer("again.json") == {"deliveries": 1}
    wait_until(lambda: cluster.api.get("/newsletters/2")["state"] == "finished", 30)
    wait_until(lambda: "News for Cleo" in sink_subjects(cluster, "cleo@readers.example"), 20)
    assert "ann@readers.example" not in sink.copies_per_recipient("Did you see this"), "she followed a link"
    assert "dan@others.example" in sink.copies_per_recipient("Did you see this, friend?")

    for node in cluster.start_outbound(2, public_url=public_url):
        node.wait_until_ready()
    follow(3)  # a crowd
    assert answer("crowd.json")["members"] == 1000
    crowd = [copy for copy in list(sink.copies) if copy.recipient.endswith("@crowd.example")]
    assert len(crowd) == len({copy.recipient for copy in crowd}) == answer("statistics.json")["delivered"] == 1000
    assert all("DKIM-Signature: " in copy.content.decode() for copy in crowd)
    assert next(blocks, None) is None


def sink_subjects(cluster: LiveCluster, recipient: str) -> set[str]:
    return {copy.subject for copy in list(cluster.sink.copies) if copy.recipient == recipient}
