"""HAProxy with the configuration that is shipped, before two ingress and two tracking nodes."""

from __future__ import annotations

import http.client
import re
import smtplib
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path

import asyncpg
import pytest

from deploy.local import debian
from deploy.local.child import Child
from deploy.local.cluster import PROJECT, Service
from deploy.local.dns_server import dns_server_in_a_thread
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK, free_addresses, free_port
from tests.acceptance.debian_part import need


class BalancedStory:
    """Nodes at addresses of their own, and the balancer's ports on 127.0.0.1."""

    def __init__(self, cluster: LiveCluster, addresses: list[str]) -> None:
        self.cluster = cluster
        self.addresses = addresses
        self.smtp_port, self.http_port, self.metrics_port, self.health_port = (free_port() for _ in range(4))
        cluster.start_admin()
        self.ingress = [self._ingress(number) for number in (1, 2)]
        self.tracking = [self._tracking(number) for number in (1, 2)]
        cluster.processes.wait_until_ready()

    def _ingress(self, number: int) -> Service:
        own = {"hostname": f"in{number}.test", "node_name": f"in{number}", "proxy_protocol_from": f"{LOOPBACK}/32"}
        return self.cluster.start_ingress(smtp_host=self.addresses[number - 1], **self._health(number - 1), **own)

    def _tracking(self, number: int) -> Service:
        return self.cluster.start_tracking(tracking_host=self.addresses[number + 1], **self._health(number + 1))

    def _health(self, number: int) -> dict[str, str]:
        return {"health_host": self.addresses[number], "health_port": str(self.health_port)}

    def configuration(self, dns_port: int) -> str:
        """The file that is shipped, with the ports of this test and its DNS server in the container network's place."""
        text = (PROJECT / "deploy" / "haproxy.cfg").read_text()
        for shipped, here in (
            ("parse-resolv-conf", f"nameserver test {LOOPBACK}:{dns_port}"),
            ("port 9100", f"port {self.health_port}"),
            ("bind :2525", f"bind {LOOPBACK}:{self.smtp_port}"),
            ("bind :8081", f"bind {LOOPBACK}:{self.http_port}"),
            ("bind :8404", f"bind {LOOPBACK}:{self.metrics_port}"),
            (" ingress:2525", f" ingress:{self.cluster.smtp_port}"),
            (" tracking:8081", f" tracking:{self.cluster.tracking_port}"),
        ):
            assert shipped in text
            text = text.replace(shipped, here)
        return text

    def let_accept(self, number: int, is_accepting: bool) -> None:
        """Switch an ingress node."""
        path = f"/nodes/in{number}/settings"
        answer = self.cluster.api.request("PATCH", path, json={"accepting_enabled": is_accepting})
        assert answer.status_code == 200, answer.text

    def greeting(self) -> str:
        """Who answers a client of the balancer, `in1.test`; or its refusal, `421 4.3.2`."""
        client = smtplib.SMTP(timeout=10)
        code, text = client.connect(LOOPBACK, self.smtp_port)
        client.close()
        words = text.decode().split()
        return words[0] if code == 220 else f"{code} {words[0]}"

    def greetings(self, count: int = 8) -> set[str]:
        return {self.greeting() for _ in range(count)}

    def is_nobody_ready(self) -> bool:
        """Whether the balancer has taken all ingress nodes out."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.metrics_port}/metrics", timeout=10) as answer:
            return b'haproxy_backend_active_servers{proxy="ingress"} 0\n' in answer.read()

    def answer_to(self, list_address: str) -> int:
        """The reply to RCPT, by way of the balancer."""
        with smtplib.SMTP(LOOPBACK, self.smtp_port, timeout=30) as session:
            session.ehlo()
            session.mail("author@authors.test")
            return session.rcpt(list_address)[0]

    def status(self) -> int:
        """Of a reader's request."""
        connection = http.client.HTTPConnection(LOOPBACK, self.http_port, timeout=10)
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture
def story(cluster: LiveCluster, tmp_path: Path) -> Iterator[BalancedStory]:
    need("haproxy", "haproxy")
    with ExitStack() as stack:
        addresses = free_addresses(4, port=cluster.smtp_port)
        running = BalancedStory(cluster, addresses)
        records = {("ingress", "A"): addresses[:2], ("tracking", "A"): addresses[2:]}
        dns = stack.enter_context(dns_server_in_a_thread(records))
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(running.configuration(dns.port))
        program = debian.find_or_install("haproxy", "haproxy")
        subprocess.run([program, "-c", "-f", configuration], check=True, capture_output=True)
        balancer = Child("HAProxy", [program, "-db", "-f", configuration], tmp_path / "haproxy.log")
        stack.callback(balancer.stop)
        balancer.start()
        yield running


async def test_a_balancer_takes_a_busy_node_out(story: BalancedStory) -> None:
    both = {"in1.test", "in2.test"}
    wait_until(lambda: _goes_in(story) and story.greetings() == both, 15)

    # The client's own address is known, although HAProxy's is what connects.
    client = story.addresses[3]
    news = story.cluster.create_list("news")
    with smtplib.SMTP(LOOPBACK, story.smtp_port, source_address=(client, 0), timeout=10) as session:
        session.send_message(_post(news))
    assert await _received_from(story) == client

    story.let_accept(1, False)
    wait_until(lambda: story.greetings() == {"in2.test"}, 15)
    assert story.greetings(20) == {"in2.test"}
    # With nobody ready, a client is told so, instead of nothing.
    story.let_accept(2, False)
    wait_until(lambda: story.greetings() == {"421 4.3.2"}, 15)
    assert story.greetings(20) == {"421 4.3.2"}
    story.let_accept(1, True)
    wait_until(lambda: story.greetings() == {"in1.test"}, 15)
    assert story.answer_to(news) == 250
    story.let_accept(2, True)
    wait_until(lambda: story.greetings() == both, 15)

    # Without a database no node is ready, and one that is alive says so.
    story.cluster.database.kill()
    wait_until(story.is_nobody_ready, 20)
    assert story.answer_to(news) == 451

    # Readers notice nothing of a dead node.
    story.tracking[0].kill()
    assert {story.status() for _ in range(40)} == {200}


def _goes_in(story: BalancedStory) -> bool:
    """Whether the balancer has found the nodes."""
    try:
        story.greeting()
    except (smtplib.SMTPException, OSError):
        return False
    return True


def _post(list_address: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "author@authors.test", list_address, "By the balancer"
    message["Message-ID"] = "<balanced@authors.test>"
    message.set_content("Hello.\n")
    return message


async def _received_from(story: BalancedStory) -> str:
    """The client's address in the Received field of the one message that is stored."""
    connection = await asyncpg.connect(story.cluster.database_url)
    try:
        content = await connection.fetchval("SELECT content FROM messages")
    finally:
        await connection.close()
    found = re.match(rb"Received: from \S+ \(\[([^]]+)\]\)", content)
    assert found is not None
    return found[1].decode()
