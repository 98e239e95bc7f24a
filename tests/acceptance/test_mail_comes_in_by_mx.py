"""Two ingress nodes as two MX of a real DNS server, and a real Postfix that sends to the lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.live_cluster import LiveCluster
from tests.acceptance.dns_story import DnsStory, dns_story

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix starts, and port 53 is had, as root only")


@pytest.fixture
def story(cluster: LiveCluster, run_folder: Path) -> Iterator[DnsStory]:
    with dns_story(cluster, run_folder / "mx") as running:
        yield running


async def test_mail_comes_in_by_mx(story: DnsStory) -> None:
    one, two = story.doors
    lists = [story.cluster.create_list(f"list{number}") for number in range(4)]

    story.state(one.name, [one.address], mx_preference=10)
    story.state(two.name, [two.address], mx_preference=10)
    story.publish()
    story.send(lists[0], 1000)
    shares = await story.wait_for(lists[0], 1000)
    assert sum(shares) == 1000
    assert all(350 <= share <= 650 for share in shares), shares

    # By preference: the second gets mail only when the first is down.
    story.state(two.name, [two.address], mx_preference=50)
    story.publish()
    story.send(lists[1], 200)
    assert await story.wait_for(lists[1], 200) == [200, 0]
    one.node.kill()
    story.send(lists[2], 200)
    assert await story.wait_for(lists[2], 200) == [0, 200]
    one.node.restart()

    # Killed and started while mail comes in: nothing is lost, whatever each was doing.
    story.send(lists[3], 600)
    one.node.kill()
    one.node.restart()
    by_door = await story.wait_for(lists[3], 600)
    assert min(by_door) > 0, by_door
