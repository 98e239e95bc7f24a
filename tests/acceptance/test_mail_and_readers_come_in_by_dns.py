"""Nodes as hosts of a real DNS server: a real Postfix sends to the lists by MX, readers come by two A records."""

from __future__ import annotations

import asyncio
import http.client
import smtplib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from deploy.local.live_cluster import LiveCluster
from shared.dns.resolver import Resolver
from tests.acceptance.debian_part import need
from tests.acceptance.dns_story import DNS_PORT, SENDER_CONNECTIONS, ZONE, DnsStory, dns_story

CLICK = f"click.{ZONE}"
#: Of 100 readers, who toss a coin: fewer come to one of two doors once in millions of runs.
SPREAD = 25


@pytest.fixture(scope="module")
async def story(
    make_cluster: Callable[[str], AbstractAsyncContextManager[LiveCluster]], run_folder: Path
) -> AsyncIterator[DnsStory]:
    # Port 53 is the only one that Postfix asks at.
    need("postfix", "postfix", as_root=True)
    need("knotd", "knot")
    async with make_cluster("by-dns") as cluster:
        with dns_story(cluster, run_folder / "by-dns") as running:
            yield running


async def test_two_mx_of_equal_preference_share_the_mail(story: DnsStory) -> None:
    news = story.cluster.create_list("equal")
    story.state_doors(10, 10)
    story.send(news, 1000)
    shares = await story.wait_for(news, 1000)
    assert sum(shares) == 1000
    assert all(350 <= share <= 650 for share in shares), shares


async def test_the_second_mx_gets_mail_only_when_the_first_is_busy(story: DnsStory) -> None:
    calm, busy = story.cluster.create_list("calm"), story.cluster.create_list("busy")
    story.state_doors(10, 50)
    story.send(calm, 100)
    assert await story.wait_for(calm, 100) == [100, 0]

    first, _ = story.doors
    story.let_accept(first, False)
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        smtplib.SMTP(first.address, story.cluster.smtp_port)
    assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (421, b"4.3.2")
    story.send(busy, 100)
    assert await story.wait_for(busy, 100) == [0, 100]
    story.let_accept(first, True)


async def test_nothing_is_lost_while_the_first_mx_is_killed_and_started(story: DnsStory) -> None:
    news = story.cluster.create_list("killed")
    story.state_doors(10, 50)
    first, _ = story.doors
    sending = asyncio.create_task(asyncio.to_thread(story.send, news, 400))
    await story.wait_until_taken(0, news, 50)
    first.node.kill()
    assert sum(await story.taken(news)) < 400
    await story.wait_until_taken(1, news, 50)
    first.node.restart()
    await sending
    taken = sum(await story.wait_for(news, 400))
    # What was stored when its 250 was lost comes a second time, and is distributed once.
    assert taken - 400 <= SENDER_CONNECTIONS


async def test_readers_are_spread_over_two_addresses_and_a_dead_node_costs_a_retry(story: DnsStory) -> None:
    nodes = [story.cluster.start_tracking(tracking_host=door.address) for door in story.doors]
    story.cluster.processes.wait_until_ready()
    story.state(CLICK, [door.address for door in story.doors], is_tracking=True)
    story.publish()

    asked = Counter([await _ask_as_a_reader(story) for _ in range(100)])
    assert all(asked[door.address, 0] >= SPREAD for door in story.doors), asked
    nodes[0].kill()
    asked = Counter([await _ask_as_a_reader(story) for _ in range(100)])
    dead, alive = (door.address for door in story.doors)
    assert asked[dead, 0] == 0
    assert asked[alive, 0] + asked[alive, 1] == 100
    assert asked[alive, 1] >= SPREAD, "some tried the dead one first, and the other next"


async def _ask_as_a_reader(story: DnsStory) -> tuple[str, int]:
    """As browsers do: the addresses in the order of the answer, the next when one does not take the connection.

    The address that answered, and how many did not.
    """
    addresses = await Resolver((story.name_server, DNS_PORT), cache_size=0).addresses(CLICK, "A")
    for failed, address in enumerate(addresses):
        connection = http.client.HTTPConnection(address, story.cluster.tracking_port, timeout=5)
        try:
            connection.request("GET", "/healthz", headers={"Host": CLICK})
            assert connection.getresponse().status == 200
        except ConnectionRefusedError:
            continue
        finally:
            connection.close()
        return address, failed
    raise AssertionError("nobody answered")
