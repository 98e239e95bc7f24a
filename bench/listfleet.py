"""Listfleet end to end: a post by SMTP to the last copy at the sink, all services as processes of this machine."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from bench import rows
from bench.post import AUTHOR, compose
from bench.processes import cpu_seconds, peak_megabytes
from bench.rows import DOMAIN
from bench.sink import Sink
from deploy.local.api import post
from deploy.local.cluster import Cluster, Service
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.rabbitmq_install import find_or_install_server

WARM_UP_LIST = "warm-up"
WARM_UP_RECIPIENTS = 1_000
_TIMEOUT_SECONDS = 900


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


class Listfleet:
    """PostgreSQL, RabbitMQ and a migrated database; the services are started for each mailing anew."""

    def __init__(self, folder: Path, database: Postgres, broker: RabbitMQ, sink: Sink, connections: int) -> None:
        """`connections`: how many a node may have open."""
        self._database, self._broker, self._sink = database, broker, sink
        self._logs = folder / "logs"
        self._settings = {
            "LISTFLEET_DATABASE_URL": database.url,
            "LISTFLEET_AMQP_URL": broker.url,
            "LISTFLEET_SECRET": secrets.token_urlsafe(24),
            "LISTFLEET_RELAY": sink.address,
        }
        Cluster(self._logs, self._settings).migrate()
        asyncio.run(rows.limit_connections(database.url, connections))
        self.make_list(WARM_UP_LIST, WARM_UP_RECIPIENTS)

    def make_list(self, name: str, recipients: int) -> None:
        """A list with so many members, to which anybody may post."""
        asyncio.run(rows.make_list(self._database.url, name, recipients))

    def mail(self, name: str, recipients: int, *, senders: int) -> Measured:
        """One post to the list, by services that were just started, `senders` of them outbound nodes.

        Raises TimeoutError when copies are missing, ValueError when there are more than recipients.
        """
        smtp_port = free_port()
        with _running_services(Cluster(self._logs, self._settings), smtp_port, senders) as services:
            self._warm_up(smtp_port)
            expected, cpu_before = self._sink.copies + recipients, self._cpu_seconds(services)
            began_at = time.time()
            message_id = _post(smtp_port, name)
            accepted_at = time.time()
            last_copy_at = self._sink.wait_for(expected, _TIMEOUT_SECONDS)
            moments = asyncio.run(rows.moments_of(self._database.url, message_id))
            cpu_used = {part: after - cpu_before[part] for part, after in self._cpu_seconds(services).items()}
            if self._sink.copies != expected:
                raise ValueError(f"{self._sink.copies - expected} copies too many at the sink")
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

    def _warm_up(self, smtp_port: int) -> None:
        """A small mailing, so that what processes do once in their lives is done."""
        expected = self._sink.copies + WARM_UP_RECIPIENTS
        message_id = _post(smtp_port, WARM_UP_LIST)
        self._sink.wait_for(expected, _TIMEOUT_SECONDS)
        asyncio.run(rows.moments_of(self._database.url, message_id))

    def _cpu_seconds(self, services: list[Service]) -> dict[str, float]:
        used = {service.name: cpu_seconds([service.pid]) for service in services}
        return used | {
            "services": sum(used.values()),
            "postgresql": cpu_seconds([self._database.pid]),
            "rabbitmq": cpu_seconds([self._broker.pid]),
        }


@contextmanager
def running_listfleet(folder: Path, sink: Sink, *, connections: int) -> Iterator[Listfleet]:
    database, broker = Postgres(folder / "postgres"), RabbitMQ(folder / "rabbitmq", find_or_install_server())
    with ExitStack() as stops:
        stops.callback(broker.stop)
        broker.launch()
        stops.callback(database.stop)
        database.start()
        broker.wait_until_ready()
        yield Listfleet(folder, database, broker, sink, connections)


@contextmanager
def _running_services(cluster: Cluster, smtp_port: int, senders: int) -> Iterator[list[Service]]:
    try:
        cluster.start_service("ingress_smtp", smtp_port=str(smtp_port))
        cluster.start_service("scheduler")
        for _ in range(senders):
            cluster.start_service("outbound_sender")
        cluster.wait_until_ready()
        yield cluster.services
    finally:
        cluster.stop()


def _post(smtp_port: int, name: str) -> UUID:
    """Posts to the list; the message's id."""
    return UUID(post(LOOPBACK, smtp_port, AUTHOR, f"{name}@{DOMAIN}", compose(name)))


def _expanded_at(services: list[Service]) -> float:
    """When the last page of members was expanded: the scheduler's log says it."""
    log = next(service.log for service in services if service.kind == "scheduler")
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"mailing expanded"' in line]
    return datetime.fromisoformat(lines[-1]["timestamp"]).timestamp()
