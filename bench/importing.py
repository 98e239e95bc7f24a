"""Members from a file, through the API: how many a second one `admin_api` takes."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import rows
from bench.list_kinds import PLAIN
from deploy.local.cluster import Cluster
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ

MEMBERS = 100_000
_NAME = "importing"
_TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ImportAlone:
    """The API with a database of its own."""

    url: str
    api_port: int
    token: str
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def members_per_second(self) -> float:
        """A CSV file with two custom fields into a new list, from the request's start to its answer."""
        name = f"{_NAME}-{next(self._numbers)}"
        asyncio.run(rows.make_list(self.url, PLAIN, name, 0))
        lines = (f"member-{n}@members.test,Member {n},Springfield,{n}\r\n" for n in range(MEMBERS))
        request = urllib.request.Request(
            f"http://{LOOPBACK}:{self.api_port}/api/v1/lists/{name}@{PLAIN.domain}/members/import",
            data=("email,display_name,city,number\r\n" + "".join(lines)).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "text/csv"},
        )
        began_at = time.monotonic()
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http, just above
            imported = json.load(answer)
        seconds = time.monotonic() - began_at
        if imported["added"] != MEMBERS:
            raise ValueError(f"not all members were added: {imported}")
        return MEMBERS / seconds


@contextmanager
def running_import(folder: Path, database: Postgres, broker: RabbitMQ) -> Iterator[ImportAlone]:
    url, api_port, token = database.url_of(_NAME), free_port(), secrets.token_urlsafe(24)
    asyncio.run(rows.make_database(database.url, _NAME))
    settings = {
        "LISTFLEET_DATABASE_URL": url,
        "LISTFLEET_AMQP_URL": broker.url,
        "LISTFLEET_SECRET": "of-no-importance-here",
    }
    cluster = Cluster(folder / "logs-importing", settings)
    cluster.migrate()
    try:
        cluster.start_service("admin_api", admin_port=str(api_port), admin_token=token)
        cluster.wait_until_ready()
        yield ImportAlone(url, api_port, token)
    finally:
        cluster.stop()
