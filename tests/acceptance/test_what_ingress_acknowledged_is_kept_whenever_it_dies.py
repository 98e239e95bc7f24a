"""Clients post all the time, and ingress is killed again and again: what was answered 250 is sent, and sent once."""

from __future__ import annotations

import random
import smtplib
import threading
import time

import pytest

from deploy.local.live_cluster import AUTHOR, LiveCluster
from deploy.local.ports import LOOPBACK

CLIENTS = 4
KILLS = 20
PAUSE_SECONDS = 0.02
#: What is posted, apart from its Message-ID: some have to be read in several pieces.
SIZES_BYTES = (200, 5_000, 300_000)


class Client(threading.Thread):
    """Posts one message after the other; one that was not acknowledged is posted again, as a sending server does."""

    def __init__(self, cluster: LiveCluster, list_address: str, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._cluster = cluster
        self._list_address = list_address
        self._is_over = threading.Event()
        self.acknowledged: list[str] = []
        self.repeated = 0

    def run(self) -> None:
        number = 0
        while not self._is_over.is_set():
            number += 1
            subject = f"{self.name}-{number}"
            while not self._post(subject, SIZES_BYTES[number % len(SIZES_BYTES)]):
                self.repeated += 1
                time.sleep(PAUSE_SECONDS)
            self.acknowledged.append(subject)
            time.sleep(PAUSE_SECONDS)

    def end(self) -> None:
        """Returns when its last message was acknowledged."""
        self._is_over.set()
        self.join(60)
        assert not self.is_alive()

    def _post(self, subject: str, size_bytes: int) -> bool:
        head = f"From: {AUTHOR}\r\nTo: {self._list_address}\r\nSubject: {subject}\r\n"
        head += f"Message-ID: <{subject}@authors.test>\r\n"
        body = "a line of the message\r\n" * (size_bytes // 23)
        try:
            with smtplib.SMTP(LOOPBACK, self._cluster.smtp_port, "client.test", timeout=20) as session:
                session.sendmail(AUTHOR, self._list_address, f"{head}\r\n{body}")
        except (smtplib.SMTPException, OSError):
            return False
        return True


@pytest.mark.long
def test_what_ingress_acknowledged_is_kept_whenever_it_dies(cluster: LiveCluster) -> None:
    cluster.start_admin()
    ingress = cluster.start_ingress()
    for _ in range(2):
        cluster.start_scheduler()
    cluster.start_outbound()
    cluster.processes.wait_until_ready()
    news = cluster.create_list("news", members=1)
    clients = [Client(cluster, news, f"client-{number}") for number in range(CLIENTS)]
    for client in clients:
        client.start()
    chance = random.Random(1)  # noqa: S311
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.2, 0.7))
        ingress.kill()
        ingress.wait(10)
        ingress.restart()
    for client in clients:
        client.end()
    expected = {subject for client in clients for subject in client.acknowledged}
    assert len(expected) >= 10 * KILLS
    assert sum(client.repeated for client in clients) >= KILLS, "they were killed in the middle of something"
    cluster.sink.wait_until(lambda sink: {copy.subject for copy in list(sink.copies)} >= expected, 120)
    assert cluster.sink.extra_copies() == 0, "a message that was stored before its client heard of it is sent once"
    assert {copy.subject for copy in cluster.sink.copies} == expected
