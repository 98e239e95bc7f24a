"""Redirects a second of one tracking node, each with an event that is safe before it, and nginx beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import cpu_seconds
from bench.web import Asked, Asker, running_haproxy, running_nginx
from deploy.local.child import descendants
from deploy.local.cluster import Cluster, Service
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.rabbitmq import RabbitMQ
from shared.broker.consumer import Consumer, Received, reader_of
from shared.contracts.events import CopiesRead
from shared.contracts.topology import TRACKING_QUEUE
from shared.core.tokens import Purpose
from shared.core.tracking import Reader, TrackedLinks

CONNECTIONS = 256
#: Through HAProxy, whose nodes are to be held up by their turns and by nothing else.
CONNECTIONS_THROUGH_HAPROXY = 1024
SECONDS = 4
WARM_UP_SECONDS = 1
#: Each node gets so much of its core while one and two are compared, so that the machine has time left with two.
TURN_SECONDS = 0.02
TURNS = 8
_READERS = 20_000
_LINKS = 5
_NAME = "redirects"
_MAX_LOOKS = 3
_QUIET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Redirected:
    """What one round came to."""

    nginx_per_second: float
    #: Of its worker.
    nginx_cpu_seconds_per_1000: float
    per_second: float
    #: Of the node's process alone.
    cpu_seconds_per_1000: float
    #: At about half of `per_second`, and at how many a second that was.
    p99_ms: float
    half_per_second: float
    #: Of one and of two nodes behind HAProxy that have the same part of a core each.
    one_behind_per_second: float
    two_behind_per_second: float


class EventsMissingError(Exception):
    """A redirect was answered whose event is nowhere."""


class Redirects:
    """Two nodes, nginx and HAProxy; who is measured has a core for itself, all others share the other cores."""

    def __init__(
        self, nodes: Sequence[Service], ports: Sequence[int], nginx: tuple[int, int], asker: Asker, broker: RabbitMQ
    ) -> None:
        self._nodes, self._ports, self._asker, self._broker = nodes, ports, asker, broker
        self._nginx_pid, self._nginx_port = nginx
        #: HAProxy's port before one node, and before both.
        self.one_behind = self.two_behind = 0

    def warm_up(self) -> None:
        """Have each node meet the broker, and what nodes do once in their lives done."""
        for port in self._ports:
            self._asker.follow_one(port)
            self._asked(port, seconds=WARM_UP_SECONDS)

    def round(self) -> Redirected:
        first, *_ = self._nodes
        mine, others = _CORES[:1], _CORES[1:]
        with _pinned(self._nginx_pid, mine), _pinned(self._broker.pid, others), _pinned(first.pid, mine):
            before = cpu_seconds([self._nginx_pid])
            nginx = self._asker.ask(self._nginx_port, seconds=SECONDS, connections=CONNECTIONS)
            nginx_used = cpu_seconds([self._nginx_pid]) - before
            before = cpu_seconds([first.pid])
            whole = self._asked(self._ports[0])
            used = cpu_seconds([first.pid]) - before
            half = self._at_half(whole)
        with _taking_turns([node.pid for node in self._nodes]):
            one = self._asked(self.one_behind, connections=CONNECTIONS_THROUGH_HAPROXY)
            two = self._asked(self.two_behind, connections=CONNECTIONS_THROUGH_HAPROXY)
        return Redirected(
            nginx_per_second=nginx.per_second,
            nginx_cpu_seconds_per_1000=nginx_used / nginx.answers * 1000,
            per_second=whole.per_second,
            cpu_seconds_per_1000=used / whole.answers * 1000,
            p99_ms=half.p99_ms,
            half_per_second=half.per_second,
            one_behind_per_second=one.per_second,
            two_behind_per_second=two.per_second,
        )

    def _asked(self, port: int, *, seconds: int = SECONDS, wait_ms: int = 0, connections: int = CONNECTIONS) -> Asked:
        """Raises EventsMissingError when fewer events are in the queue than redirects were answered."""
        asked = self._asker.ask(port, seconds=seconds, wait_ms=wait_ms, connections=connections)
        events = asyncio.run(_taken_events(self._broker.url + _NAME))
        # Some were on their way when the asker ended.
        if not asked.answers <= events <= asked.answers + 4 * connections:
            raise EventsMissingError(f"{asked.answers} redirects, {events} events")
        return asked

    def _at_half(self, whole: Asked) -> Asked:
        """At half of the rate, or a little above: each connection asks once a period."""
        period_ms = 2 * CONNECTIONS / whole.per_second * 1000
        wait_ms = max(1, round(period_ms))
        for _ in range(_MAX_LOOKS):
            asked = self._asked(self._ports[0], wait_ms=wait_ms)
            if asked.per_second >= whole.per_second / 2 or wait_ms == 1:
                break
            wait_ms = max(1, min(wait_ms - 1, int(period_ms - asked.mean_ms - 0.5)))
        return asked


#: The first is of whoever is measured.
_CORES = sorted(os.sched_getaffinity(0))


@contextmanager
def running_redirects(folder: Path, broker: RabbitMQ) -> Iterator[Redirects]:
    """Raises NotInstalledError where nginx, HAProxy or `wrk` cannot be had."""
    folder.mkdir(mode=0o711)
    secret = secrets.token_urlsafe(24)
    broker.run_rabbitmqctl("add_vhost", _NAME)
    broker.run_rabbitmqctl("set_permissions", "-p", _NAME, "listfleet", ".*", ".*", ".*")
    settings = {
        # Nobody listens there: redirects need no database.
        "LISTFLEET_DATABASE_URL": f"postgresql://nobody@{LOOPBACK}:1/nothing",
        "LISTFLEET_AMQP_URL": broker.url + _NAME,
        "LISTFLEET_SECRET": secret,
        "LISTFLEET_PUBLIC_URL": "https://lists.bench.test",
        "LISTFLEET_TRACKING_JOURNAL": str(folder / "journal"),
        "LISTFLEET_TRUSTED_PROXIES": LOOPBACK,
    }
    asker = Asker(folder, _paths(secret), core=_CORES[-1])
    cluster = Cluster(folder / "logs", settings)
    ports = [free_port(), free_port()]
    with running_nginx(folder) as (nginx, nginx_port), contextlib.ExitStack() as stack:
        stack.callback(cluster.stop)
        nodes = [cluster.start_service("tracking_api", tracking_port=str(port)) for port in ports]
        cluster.wait_until_ready()
        measured = Redirects(nodes, ports, (nginx.pid, nginx_port), asker, broker)
        measured.one_behind = stack.enter_context(running_haproxy(folder, ports[:1]))
        measured.two_behind = stack.enter_context(running_haproxy(folder, ports))
        measured.warm_up()
        yield measured


def _paths(secret: str) -> list[str]:
    """Of clicks by different readers on a few links, as one mailing has them."""
    links = TrackedLinks(secret.encode(), (), "https://lists.bench.test")
    targets = [links.target(1, f"https://shop.example/offer?link={number}&source=news") for number in range(_LINKS)]
    return [
        f"/c/{links.token(Purpose.CLICK, Reader(1, number + 1))}/{targets[number % _LINKS]}"
        for number in range(_READERS)
    ]


async def _taken_events(url: str) -> int:
    """How many events there were in the queue, which is empty afterwards."""
    count, latest_seconds = 0, time.monotonic()

    async def handle(received: Received[CopiesRead]) -> None:
        nonlocal count, latest_seconds
        count, latest_seconds = count + len(received.payload.events), time.monotonic()
        await received.acknowledge()

    consumer = Consumer(url, TRACKING_QUEUE, reader_of(CopiesRead), handle, name="bench", prefetch=500)
    consuming = asyncio.create_task(consumer.run())
    while time.monotonic() - latest_seconds < _QUIET_SECONDS:  # noqa: ASYNC110 - nobody says that a queue is empty
        await asyncio.sleep(_QUIET_SECONDS / 10)
    await consumer.settle()
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    return count


@contextmanager
def _pinned(pid: int, cores: Sequence[int]) -> Iterator[None]:
    """A process, with all it started, on these cores; on any again afterwards. On a machine of one core, nothing."""
    _pin(pid, cores or _CORES)
    try:
        yield
    finally:
        _pin(pid, _CORES)


def _pin(pid: int, cores: Sequence[int]) -> None:
    threads = [thread for each in (pid, *descendants(pid)) for thread in Path(f"/proc/{each}/task").glob("*")]
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def _taking_turns(pids: Sequence[int]) -> Iterator[None]:
    """Each process runs one turn of `TURNS`, never two at a time, and is stopped in between."""
    is_over = threading.Event()

    def give_turns() -> None:
        while not is_over.is_set():
            for turn in range(TURNS):
                here = pids[turn] if turn < len(pids) else None
                if here is not None:
                    os.kill(here, signal.SIGCONT)
                is_over.wait(TURN_SECONDS)
                if here is not None:
                    os.kill(here, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    giving = threading.Thread(target=give_turns)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    giving.start()
    try:
        yield
    finally:
        is_over.set()
        giving.join()
