"""Listfleet end to end: a post by SMTP to the last copy at the sink, all services as processes of this machine."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from bench import rows
from bench.list_kinds import ListKind
from bench.post import author, compose
from bench.processes import cpu_seconds, peak_megabytes
from bench.sink import Sink
from deploy.local.api import post
from deploy.local.cluster import Cluster, Service
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.rabbitmq_install import find_or_install_server

#: To the sink, for Postfix and for all sending nodes together alike.
CONNECTIONS = 160
WARM_UP_RECIPIENTS = 1_000
#: A mailing that is not through by then has failed: a start, and then so many recipients a second.
_TIMEOUT_SECONDS = 120
_SLOWEST_PER_SECOND = 300


@dataclass(frozen=True, slots=True)
class Measured:
    """What one mailing came to."""

    recipients: int
    seconds: float
    #: CPU seconds a 1,000 messages: `services`, `postgresql`, `rabbitmq`, and each service by its name.
    cpu_seconds_per_1000: Mapping[str, float]
    #: The highest resident memory of each service, by its name, since it was started.
    peak_megabytes: Mapping[str, float]
    #: Each stage's seconds; they overlap, for pages are released while later ones are expanded.
    stage_seconds: Mapping[str, float]

    @property
    def per_second(self) -> float:
        return self.recipients / self.seconds

    @property
    def whole_cpu_seconds_per_1000(self) -> float:
        """Of all processes, PostgreSQL and RabbitMQ included."""
        return sum(self.cpu_seconds_per_1000[part] for part in ("services", "postgresql", "rabbitmq"))

    @property
    def node_peak_megabytes(self) -> float:
        """Of the sending node that had the most."""
        return max(peak for name, peak in self.peak_megabytes.items() if name.startswith("outbound_sender"))


class Listfleet:
    """PostgreSQL, RabbitMQ and a migrated database; the services are started for each mailing anew."""

    def __init__(self, folder: Path, database: Postgres, broker: RabbitMQ) -> None:
        self._database, self._broker = database, broker
        self._logs = folder / "logs"
        self._lists: set[str] = set()
        secret = secrets.token_urlsafe(24)
        self._settings = {
            "LISTFLEET_DATABASE_URL": database.url,
            "LISTFLEET_AMQP_URL": broker.url,
            "LISTFLEET_SECRET": secret,
        }
        Cluster(self._logs, self._settings).migrate()
        asyncio.run(rows.sign_mail(database.url, secret))

    def mail(
        self,
        kind: ListKind,
        recipients: int,
        sink: Sink,
        *,
        nodes: int = 1,
        connections: int = CONNECTIONS,
        warm_up_recipients: int = WARM_UP_RECIPIENTS,
    ) -> Measured:
        """One post to a list, by services that were just started, with so many connections a node.

        Raises TimeoutError when copies are missing, ValueError when there are more than recipients.
        """
        name, warm_up = self._list(kind, recipients), self._list(kind, warm_up_recipients)
        asyncio.run(rows.limit_connections(self._database.url, connections))
        smtp_port = free_port()
        cluster = Cluster(self._logs, self._settings | _links(kind) | {"LISTFLEET_RELAY": sink.address})
        with _running_services(cluster, smtp_port, nodes) as services:
            self._warm_up(smtp_port, kind, warm_up, warm_up_recipients, sink)
            expected, cpu_before = sink.copies + recipients, self._cpu_seconds(services)
            began_at = time.time()
            message_id = _post(smtp_port, kind, name)
            accepted_at = time.time()
            last_copy_at = sink.wait_for(expected, _timeout_seconds(recipients))
            moments = asyncio.run(rows.moments_of(self._database.url, message_id))
            cpu_used = {part: after - cpu_before[part] for part, after in self._cpu_seconds(services).items()}
            if sink.copies != expected:
                raise ValueError(f"{sink.copies - expected} copies too many at the sink")
            return Measured(
                recipients=recipients,
                seconds=last_copy_at - began_at,
                cpu_seconds_per_1000={part: seconds / recipients * 1000 for part, seconds in cpu_used.items()},
                peak_megabytes={service.name: peak_megabytes(service.pid) for service in services},
                stage_seconds={
                    "accepting the post": accepted_at - began_at,
                    "making the mailing": max(0.0, moments.made_at - accepted_at),
                    "expanding": _expanded_at(services) - moments.made_at,
                    "releasing": moments.last_released_at - moments.first_released_at,
                    "sending": last_copy_at - moments.first_claimed_at,
                },
            )

    def _list(self, kind: ListKind, recipients: int) -> str:
        """The name of the list of this kind with so many members."""
        name = f"{kind.name}-{recipients}"
        if name not in self._lists:
            asyncio.run(rows.make_list(self._database.url, kind, name, recipients))
            self._lists.add(name)
        return name

    def _warm_up(self, smtp_port: int, kind: ListKind, name: str, recipients: int, sink: Sink) -> None:
        """A small mailing, so that what processes do once in their lives is done."""
        expected = sink.copies + recipients
        message_id = _post(smtp_port, kind, name)
        sink.wait_for(expected, _timeout_seconds(recipients))
        asyncio.run(rows.moments_of(self._database.url, message_id))

    def _cpu_seconds(self, services: list[Service]) -> dict[str, float]:
        used = {service.name: cpu_seconds([service.pid]) for service in services}
        return used | {
            "services": sum(used.values()),
            "postgresql": cpu_seconds([self._database.pid]),
            "rabbitmq": cpu_seconds([self._broker.pid]),
        }


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    database = Postgres(folder / "postgres")
    try:
        database.start()
        yield database
    finally:
        database.stop()


@contextmanager
def running_broker(folder: Path) -> Iterator[RabbitMQ]:
    broker = RabbitMQ(folder / "rabbitmq", find_or_install_server())
    try:
        broker.launch()
        broker.wait_until_ready()
        yield broker
    finally:
        broker.stop()


@contextmanager
def _running_services(cluster: Cluster, smtp_port: int, nodes: int) -> Iterator[list[Service]]:
    try:
        cluster.start_service("ingress_smtp", smtp_port=str(smtp_port))
        cluster.start_service("scheduler")
        for _ in range(nodes):
            cluster.start_service("outbound_sender")
        cluster.wait_until_ready()
        yield cluster.services
    finally:
        cluster.stop()


def _links(kind: ListKind) -> dict[str, str]:
    """Copies have links to our own pages where there are such pages; nobody follows these."""
    return {"LISTFLEET_PUBLIC_URL": "https://lists.bench.test"} if kind.personal else {}


def _timeout_seconds(recipients: int) -> float:
    return _TIMEOUT_SECONDS + recipients / _SLOWEST_PER_SECOND


def _post(smtp_port: int, kind: ListKind, name: str) -> UUID:
    """Posts to the list; the message's id."""
    return UUID(post(LOOPBACK, smtp_port, author(kind), f"{name}@{kind.domain}", compose(kind, name)))


def _expanded_at(services: list[Service]) -> float:
    """When the last page of members was expanded: the scheduler's log says it."""
    log = next(service.log for service in services if service.kind == "scheduler")
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"mailing expanded"' in line]
    return datetime.fromisoformat(lines[-1]["timestamp"]).timestamp()
