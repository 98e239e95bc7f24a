"""Broken, deep, huge and 8-bit messages: answered in the session, their bodies unchanged, and no service harmed."""

from __future__ import annotations

import smtplib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.local.live_cluster import AUTHOR, LiveCluster


def _header(name: str) -> bytes:
    return f"From: {AUTHOR}\r\nTo: news@lists.test\r\nMessage-ID: <{name}@authors.test>\r\nSubject: {name}\r\n".encode()


def _message(name: str, body: bytes, header: bytes = b"") -> bytes:
    return _header(name) + header + b"\r\n" + body


def _nested(depth: int) -> bytes:
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(depth)
    )
    return (
        opened
        + b"Content-Type: text/plain\r\n\r\ndeep\r\n"
        + b"".join(b"--b%d--\r\n" % level for level in reversed(range(depth)))
    )


_LINE = b"0123456789 abcdefghijklmnopqrstuvwxyz .\r\n"

ODD_MESSAGES = {
    "broken-mime": _message(
        "broken-mime",
        b"--other\r\nContent-Type: ?/=\r\nContent-Transfer-Encoding: none\r\n\r\n=ZZ\r\n.\r\n..\r\n",
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="never\r\n',
    ),
    "nested-500": _header("nested-500") + _nested(500),
    "24-megabytes": _message("24-megabytes", _LINE * (24_000_000 // len(_LINE))),
    "8-bit-header": _message("8-bit-header", b"caf\xe9 \xff\xfe\r\n", b"X-Note: caf\xe9 \xff\r\n"),
}


@pytest.mark.parametrize("name", ODD_MESSAGES)
def test_an_odd_message_arrives_with_its_body_unchanged_and_blocks_no_service(
    running_cluster: LiveCluster, name: str
) -> None:
    cluster = running_cluster
    message = ODD_MESSAGES[name]
    cluster.sink.keeps_contents = True
    news = cluster.create_list("news", members=5)
    with _watched(cluster) as slowest_answers_seconds:
        message_id = cluster.post_bytes(news, message)
        cluster.wait_until_finished(message_id, 60)

    assert max(slowest_answers_seconds) < 1
    assert {service.exit_code for service in cluster.processes.services} == {None}
    contents = [copy.content for copy in cluster.sink.copies]
    assert len(contents) == 5
    body = message.partition(b"\r\n\r\n")[2]
    assert all(content.partition(b"\r\n\r\n")[2] == body for content in contents)


def test_a_message_above_the_limit_is_refused_in_the_session(running_cluster: LiveCluster) -> None:
    news = running_cluster.create_list("news", members=1)

    with pytest.raises(smtplib.SMTPResponseException) as refusal:
        running_cluster.post_bytes(news, _message("large", _LINE * (27_000_000 // len(_LINE))))

    assert refusal.value.smtp_code == 552
    assert "5.3.4" in str(refusal.value)


@contextmanager
def _watched(cluster: LiveCluster) -> Iterator[list[float]]:
    """How long each service took to answer `/healthz`, asked all the time within the block: its loop was blocked.

    The time in which its loop would have run and the machine gave it no processor is not counted.
    """
    took_seconds: list[float] = []
    is_over = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=30) as client:
            while not is_over.is_set():
                for service in cluster.processes.services:
                    began_seconds = time.monotonic() - _starved_seconds(service.pid)
                    client.get(f"http://127.0.0.1:{service.health_port}/healthz").raise_for_status()
                    took_seconds.append(time.monotonic() - _starved_seconds(service.pid) - began_seconds)

    with ThreadPoolExecutor(1) as asking:
        watching = asking.submit(ask)
        try:
            yield took_seconds
        finally:
            is_over.set()
        watching.result(30)


def _starved_seconds(pid: int) -> float:
    """How long the main thread of a process has waited for a processor so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
