"""Mail that comes in: how many messages a second one ingress node accepts and stores, and Postfix beside it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import rows
from bench.list_kinds import DOMAIN, PLAIN
from bench.postfix_relay import Postfix
from bench.processes import cpu_seconds
from bench.sink import postfix_tool
from deploy.local.cluster import Cluster, Service
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ

MESSAGES = 10_000
MESSAGE_BYTES = 5 * 1024
CONNECTIONS = 20
_NAME = "incoming"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What one run came to; the client's CPU time is not in it."""

    per_second: float
    whole_cpu_seconds_per_1000: float


@dataclass(frozen=True, slots=True)
class IngressAlone:
    """A node that takes posts to a list, which no scheduler makes mailings of; and what it costs."""

    service: Service
    smtp_port: int
    database: Postgres
    broker: RabbitMQ

    def accept(self) -> Accepted:
        """As many messages as the node can take from some clients at a time."""
        pids = [self.service.pid, self.database.pid, self.broker.pid]
        return _accept(self.smtp_port, f"{_NAME}@{DOMAIN}", pids)


@contextmanager
def running_ingress(folder: Path, database: Postgres, broker: RabbitMQ) -> Iterator[IngressAlone]:
    """With a database and a virtual host of its own, so that its messages are in nobody's way."""
    url, smtp_port = database.url_of(_NAME), free_port()
    asyncio.run(rows.make_database(database.url, _NAME))
    broker.run_rabbitmqctl("add_vhost", _NAME)
    broker.run_rabbitmqctl("set_permissions", "-p", _NAME, "listfleet", ".*", ".*", ".*")
    settings = {
        "LISTFLEET_DATABASE_URL": url,
        "LISTFLEET_AMQP_URL": broker.url + _NAME,
        "LISTFLEET_SECRET": "of-no-importance-here",
    }
    cluster = Cluster(folder / "logs-incoming", settings)
    cluster.migrate()
    asyncio.run(rows.make_list(url, PLAIN, _NAME, 0))
    try:
        service = cluster.start_service("ingress_smtp", smtp_port=str(smtp_port))
        cluster.wait_until_ready()
        yield IngressAlone(service, smtp_port, database, broker)
    finally:
        cluster.stop()


def postfix_accepts(postfix: Postfix) -> Accepted:
    """The same by Postfix, which keeps what it accepted in its queue and does not go on to deliver it."""
    return _accept(postfix.port, "recipient@bench.test", [postfix.master_pid])


def _accept(port: int, recipient: str, pids: list[int]) -> Accepted:
    """From the client's start to its end, which comes when every message was answered with 250."""
    source = postfix_tool("smtp-source") or "smtp-source"
    keeps_connections, shape = "-d", ["-s", str(CONNECTIONS), "-m", str(MESSAGES), "-l", str(MESSAGE_BYTES)]
    envelope = ["-f", "sender@bench.test", "-t", recipient]
    cpu_before_seconds, began_at = cpu_seconds(pids), time.time()
    subprocess.run([source, keeps_connections, *shape, *envelope, f"{LOOPBACK}:{port}"], check=True)
    seconds = time.time() - began_at
    return Accepted(MESSAGES / seconds, (cpu_seconds(pids) - cpu_before_seconds) / MESSAGES * 1000)
