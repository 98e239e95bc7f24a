"""Each limit of an ingress node, set while it runs, and kept as seen from outside; and a crowd that does nothing."""

from __future__ import annotations

import resource
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.cluster import Service
from deploy.local.live_cluster import AUTHOR, LiveCluster, wait_until
from deploy.local.ports import LOOPBACK

NODE = "hamburg"
#: Whose connections begin with a header of the PROXY protocol.
PROXY = "127.0.0.9"
#: In force within so long.
SOON = 2.0
RATE = 10
IDLE_CONNECTIONS = 2000


class Doors:
    """The node as the network sees it."""

    def __init__(self, cluster: LiveCluster) -> None:
        self._cluster = cluster
        cluster.start_admin()
        self.service: Service = cluster.start_ingress(node_name=NODE, proxy_protocol_from=PROXY)
        cluster.processes.wait_until_ready()
        self.list = cluster.create_list("news")

    def set(self, **settings: Any) -> None:
        """Returns when the settings are in force."""
        self._cluster.api.set_node(NODE, **settings)
        time.sleep(SOON)

    def connect(self, address: str = LOOPBACK, header: bytes = b"") -> tuple[socket.socket, str]:
        """A connection from this address of the loopback, and the line that it is greeted with."""
        connection = socket.create_connection((LOOPBACK, self._cluster.smtp_port), 10, (address, 0))
        connection.sendall(header)
        return connection, connection.makefile("rb").readline().decode()

    @contextmanager
    def greeted(self, address: str = LOOPBACK, header: bytes = b"") -> Iterator[str]:
        connection, line = self.connect(address, header)
        with connection:
            yield line

    def shown(self) -> Any:
        return self._cluster.api.get(f"/nodes/{NODE}")

    def readiness(self) -> tuple[int, bool]:
        """The status of `/readyz`, and whether it says that the node accepts."""
        answer = httpx.get(f"http://{LOOPBACK}:{self.service.health_port}/readyz")
        return answer.status_code, answer.json()["accepting"]

    def wait_until_ready_again(self) -> None:
        wait_until(lambda: self.readiness() == (200, True), 2 * SOON)

    def metric(self, name: str) -> float:
        lines = httpx.get(f"http://{LOOPBACK}:{self.service.health_port}/metrics").text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.fixture
def doors(cluster: LiveCluster) -> Doors:
    return Doors(cluster)


@pytest.mark.long
def test_limits_set_while_a_node_runs_are_kept_and_a_busy_node_sends_clients_on(
    cluster: LiveCluster, doors: Doors
) -> None:
    # Sessions in all.
    doors.set(max_connections=2)
    with doors.greeted() as first, doors.greeted("127.0.0.2") as second, doors.greeted("127.0.0.3") as third:
        assert (first[:3], second[:3]) == ("220", "220")
        assert third.startswith("421 4.3.2")
        assert doors.readiness() == (503, False)
        busy = wait_until(lambda: doors.shown()["busy"], SOON)
        assert busy["because"] == "max_connections"
        assert doors.shown()["open_connections"] == 2
        assert doors.metric('listfleet_ingress_busy_since_timestamp_seconds{because="max_connections"}') > 0
        assert doors.metric('listfleet_ingress_refused_connections_total{because="max_connections"}') == 1
    doors.wait_until_ready_again()
    wait_until(lambda: doors.shown()["busy"] is None, SOON)

    # Sessions of one client, behind a proxy too.
    doors.set(max_connections=None, max_connections_per_peer=1)
    ann, ben = (f"PROXY TCP4 192.0.2.{number} 192.0.2.1 4711 25\r\n".encode() for number in (7, 8))
    with doors.greeted() as first, doors.greeted() as second, doors.greeted("127.0.0.2") as other:
        assert [line[:9] for line in (first, second, other)] == ["220 ingre", "421 4.3.2", "220 ingre"]
    with doors.greeted(PROXY, ann) as first, doors.greeted(PROXY, ann) as second, doors.greeted(PROXY, ben) as other:
        assert [line[:9] for line in (first, second, other)] == ["220 ingre", "421 4.3.2", "220 ingre"]
        assert doors.readiness() == (200, True)

    # Kept by a node that was stopped, and by one that was killed.
    for end in (doors.service.terminate, doors.service.kill):
        end()
        doors.service.wait(20)
        started_before = doors.shown()["started_at"]
        doors.service.restart()
        with doors.greeted() as first, doors.greeted() as second:
            assert (first[:3], second[:9]) == ("220", "421 4.3.2")

    # Messages a second.
    doors.set(max_connections_per_peer=None, max_messages_per_second=RATE)
    times = _posted_for(cluster, doors.list, seconds=5, clients=4)
    assert max(sum(start <= at < start + 1 for at in times) for start in times) <= RATE + 1
    assert len(times) >= 0.85 * RATE * 5, "it takes what it may"
    doors.set(max_messages_per_second=0.1)
    with doors.greeted() as line:
        assert line.startswith("421 4.3.2")

    # Off, and on again.
    doors.set(max_messages_per_second=None, accepting_enabled=False)
    with doors.greeted() as line:
        assert line.startswith("421 4.3.2")
    assert doors.readiness() == (503, False)
    doors.set(accepting_enabled=True)
    with doors.greeted() as line:
        assert line.startswith("220")
    assert doors.readiness() == (200, True)

    # Drained, with a message in hand.
    idle, _ = doors.connect()
    with idle, smtplib.SMTP(LOOPBACK, cluster.smtp_port, timeout=20) as client:
        client.ehlo("client.test")
        client.mail(AUTHOR)
        client.rcpt(doors.list)
        assert client.docmd("DATA")[0] == 354
        cluster.api.drain(NODE)
        assert idle.makefile("rb").readline().startswith(b"421 4.3.2")
        assert doors.readiness() == (503, False)
        assert doors.shown()["state"] == "draining"
        client.send(b"From: author@authors.test\r\nSubject: In hand\r\n\r\nHello.\r\n.\r\n")
        code, text = client.getreply()
        assert code == 250
        assert cluster.api.message(text.split()[-1].decode())
        assert client.getreply()[0] == 421
        client.close()
    with doors.greeted() as line:
        assert line.startswith("421 4.3.2")
    cluster.api.resume(NODE)
    doors.wait_until_ready_again()
    with doors.greeted() as line:
        assert line.startswith("220")

    # The killed one's lease was over some time ago, and is this one's.
    wait_until(lambda: doors.shown()["started_at"] != started_before, 20)
    doors.service.terminate()
    assert doors.service.wait(20) == 0
    assert doors.shown()["left_because"] == "drained"


@pytest.mark.long
def test_beside_two_thousand_idle_and_slow_connections_a_client_is_served(cluster: LiveCluster) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1.4 * IDLE_CONNECTIONS:
        pytest.skip("this machine lets a process open too few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # What most systems begin with.
    doors = Doors(cluster)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * IDLE_CONNECTIONS), hard))
    before_bytes = _resident_bytes(doors.service)
    with ExitStack() as connections:
        for number in range(IDLE_CONNECTIONS):
            # A peer has 50 sessions at most: forty of them.
            connection, line = doors.connect(f"127.0.1.{number % 40 + 1}")
            connections.enter_context(connection)
            assert line.startswith("220")
            if number % 2:
                connection.sendall(b"EHLO slow.te"[: number % 12 + 1])
        with doors.greeted("127.0.1.1") as line:
            assert line.startswith("421 4.3.2")
        assert doors.readiness() == (200, True)
        wait_until(lambda: doors.shown()["open_connections"] >= IDLE_CONNECTIONS, 2 * SOON)
        took_seconds = []
        for number in range(20):
            began_seconds = time.monotonic()
            cluster.post(doors.list, f"Message {number}")
            took_seconds.append(time.monotonic() - began_seconds)
        assert max(took_seconds) < 5
        grown_bytes = _resident_bytes(doors.service) - before_bytes
        assert grown_bytes < IDLE_CONNECTIONS * 50_000, f"{grown_bytes / IDLE_CONNECTIONS:.0f} bytes a connection"


def _posted_for(cluster: LiveCluster, list_address: str, *, seconds: float, clients: int) -> list[float]:
    """When the replies came to the messages of so many clients, each of which posts as fast as it can."""
    times: list[float] = []
    ends_at = time.monotonic() + seconds

    def post_on(client: int) -> None:
        with smtplib.SMTP(LOOPBACK, cluster.smtp_port, timeout=20) as session:
            number = 0
            while time.monotonic() < ends_at:
                number += 1
                session.sendmail(
                    AUTHOR,
                    list_address,
                    f"From: {AUTHOR}\r\nMessage-ID: <{client}.{number}@authors.test>\r\n\r\nHello.\r\n",
                )
                times.append(time.monotonic())

    threads = [threading.Thread(target=post_on, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(at for at in times if at < ends_at)


def _resident_bytes(service: Service) -> int:
    return int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * resource.getpagesize()
