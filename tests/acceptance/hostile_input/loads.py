"""What hostile input costs the ingress process: memory, processor time, and how long its loop serves nobody else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.cluster import Service
from deploy.local.live_cluster import LiveCluster
from tests.acceptance.hostile_input.raw_client import RawClient


def ingress(cluster: LiveCluster) -> Service:
    [service] = cluster.processes.of_kind("ingress_smtp")
    return service


@contextmanager
def heard_all_the_time(cluster: LiveCluster, service: Service) -> Iterator[list[float]]:
    """The longest time for which the loop did something else before it answered another client's NOOP, in seconds.

    That is processor time of the loop's thread: how long the machine let it wait says nothing about it.
    """
    longest_seconds, is_over = [0.0], threading.Event()

    def ask() -> None:
        with RawClient.to(cluster.smtp_port, source="127.0.0.4") as client:
            while not is_over.is_set():
                began_seconds = loop_seconds(service)
                assert client.say(b"NOOP").startswith("250")
                longest_seconds[0] = max(longest_seconds[0], loop_seconds(service) - began_seconds)
                time.sleep(0.005)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield longest_seconds
    finally:
        is_over.set()
        asking.join()


def loop_seconds(service: Service) -> float:
    """Processor time of the process's first thread."""
    return int(Path(f"/proc/{service.pid}/schedstat").read_text().split()[0]) / 1e9


def cpu_seconds(service: Service) -> float:
    """Processor time of all its threads."""
    fields = Path(f"/proc/{service.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(service: Service) -> int:
    return int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
