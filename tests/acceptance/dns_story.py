"""A cluster in the DNS: nodes on loopback addresses of their own, Knot with what the plan says, Postfix as a sender."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from deploy.local import postfix
from deploy.local.cluster import Service
from deploy.local.knot import Knot
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK, free_addresses
from deploy.local.postfix import PostfixInstance

ZONE = "lists.test"
REVERSE_ZONE = "127.in-addr.arpa"
#: The only port that Postfix asks at.
DNS_PORT = 53
#: That the sender has open at once.
SENDER_CONNECTIONS = 20


@dataclass(frozen=True, slots=True)
class Door:
    """A mail host: an ingress node with an address and a public name of its own."""

    name: str
    address: str
    node: Service


class DnsStory:
    """Two doors, and a server outside that sends to whatever the DNS names."""

    def __init__(self, cluster: LiveCluster, knot: Knot, addresses: list[str], folder: Path) -> None:
        self.cluster = cluster
        self.name_server = knot.address
        self._knot = knot
        cluster.domain = ZONE
        cluster.start_admin(dns_resolver=f"{knot.address}:{knot.port}")
        self.doors = [self._door(f"mx{n}.{ZONE}", address) for n, address in enumerate(addresses, start=1)]
        self.sender = PostfixInstance(
            folder, self._sender_settings(), connections=SENDER_CONNECTIONS, nameserver=knot.address
        )
        cluster.processes.wait_until_ready()

    def _door(self, name: str, address: str) -> Door:
        node_name = name.partition(".")[0]
        return Door(name, address, self.cluster.start_ingress(smtp_host=address, hostname=name, node_name=node_name))

    def _sender_settings(self) -> dict[str, str]:
        return {
            "myhostname": "sender.test",
            # By MX, as always, but at the port of the nodes.
            "transport_maps": f"inline:{{ {{ {ZONE} = smtp:{ZONE}:{self.cluster.smtp_port} }} }}",
            # A connection, and with it a choice between equal hosts, for each message.
            "smtp_connection_cache_on_demand": "no",
            # What is deferred is tried again at once.
            "queue_run_delay": "1s",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "1s",
            # A report that cannot be delivered either is no story of ours.
            "bounce_queue_lifetime": "0",
        }

    def state(self, name: str, addresses: list[str], **role: object) -> None:
        """State a public host."""
        answer = self.cluster.api.request("PUT", f"/dns/hosts/{name}", json={"addresses": addresses, **role})
        assert answer.status_code == 200, answer.text

    def state_doors(self, *preferences: int) -> None:
        """State each door with its preference, and publish the plan."""
        for door, preference in zip(self.doors, preferences, strict=True):
            self.state(door.name, [door.address], mx_preference=preference)
        self.publish()

    def publish(self) -> None:
        """Put what the plan says into the DNS; the check finds that it is there."""
        texts = {}
        for zone in (ZONE, REVERSE_ZONE):
            answer = self.cluster.api.request("GET", "/dns/plan", params={"format": "zone", "zone": zone})
            texts[zone] = answer.raise_for_status().text
        self._knot.serve(texts)
        found = self.cluster.api.get("/dns/check")
        assert found["is_right"], [finding for finding in found["findings"] if finding["state"] != "right"]

    def let_accept(self, door: Door, is_accepting: bool) -> None:
        """Switch a door's node; returns when it says so."""
        node_name = door.name.partition(".")[0]
        path, change = f"/nodes/{node_name}/settings", {"accepting_enabled": is_accepting}
        assert self.cluster.api.request("PATCH", path, json=change).status_code == 200
        wait_until(lambda: door.node.is_ready() == is_accepting, 10)

    def send(self, list_address: str, count: int) -> None:
        """Hand so many messages to the sender, which takes it from there."""
        command = [
            str(postfix.tool("smtp-source")),
            "-m",
            str(count),
            "-s",
            "10",
            "-l",
            "1000",
            "-f",
            "author@sender.test",
        ]
        where = f"inet:{LOOPBACK}:{self.sender.port}"
        subprocess.run([*command, "-t", list_address, where], check=True, timeout=60)

    async def taken(self, list_address: str) -> list[int]:
        """How many of a list's messages each door has stored."""
        return [len(taken) for taken in (await self.arrived(list_address)).values()]

    async def wait_until_taken(self, door: int, list_address: str, count: int) -> None:
        """Returns when this door has stored so many of a list's messages."""
        async with asyncio.timeout(20):
            while (await self.taken(list_address))[door] < count:  # noqa: ASYNC110 - other processes store them
                await asyncio.sleep(0.05)

    async def arrived(self, list_address: str) -> dict[str, set[str]]:
        """The Message-IDs of what is stored for a list, by the name of the door that took it."""
        connection = await asyncpg.connect(self.cluster.database_url)
        try:
            rows = await connection.fetch(
                "SELECT messages.message_id, convert_from(substring(content, 1, 200), 'LATIN1') AS beginning"
                " FROM messages JOIN message_targets ON message_targets.message_id = messages.id"
                " WHERE message_targets.address = $1",
                list_address,
            )
        finally:
            await connection.close()
        return {
            door.name: {row["message_id"] for row in rows if f"by {door.name} with" in row["beginning"]}
            for door in self.doors
        }

    async def wait_for(self, list_address: str, count: int, timeout_seconds: float = 60) -> list[int]:
        """Returns when so many different messages are stored: how many each door took."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            by_door = await self.arrived(list_address)
            if len(set().union(*by_door.values())) == count:
                return [len(taken) for taken in by_door.values()]
            taken = [len(taken) for taken in by_door.values()]
            assert time.monotonic() < deadline, (taken, self.sender.refusals(list_address)[-3:])
            await asyncio.sleep(0.2)


@contextmanager
def dns_story(cluster: LiveCluster, folder: Path) -> Iterator[DnsStory]:
    """`folder` must be one that the user postfix may pass through."""
    with ExitStack() as stack:
        dns_address, *addresses = free_addresses(3, port=cluster.smtp_port)
        knot = Knot(folder / "knot", dns_address, DNS_PORT, (ZONE, REVERSE_ZONE))
        stack.callback(knot.stop)
        knot.start()
        story = DnsStory(cluster, knot, addresses, folder / "postfix")
        stack.callback(story.sender.stop)
        story.sender.start()
        yield story
