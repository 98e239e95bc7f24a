"""PostgreSQL and RabbitMQ of this machine, started side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.rabbitmq_install import find_or_install_server


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the two are. The broker may still be starting."""

    database_url: str
    amqp_url: str
    _broker: RabbitMQ | None

    def wait_for_broker(self) -> None:
        """Raises StartFailedError."""
        if self._broker:
            self._broker.wait_until_ready()


@contextmanager
def running_parts(folder: Path) -> Iterator[Parts]:
    """A PostgreSQL, and a RabbitMQ unless LISTFLEET_AMQP_URL names one, with what they kept in `folder`.

    Raises StartFailedError, RabbitMQMissingError.
    """
    broker_url = os.environ.get("LISTFLEET_AMQP_URL")
    broker = None if broker_url else RabbitMQ(folder / "rabbitmq", find_or_install_server())
    database = Postgres(folder / "postgres")
    with ExitStack() as stops:
        if broker:
            stops.callback(broker.stop)
            broker.launch()
            broker_url = broker.url
        stops.callback(database.stop)
        yield Parts(database.start(), broker_url or "", broker)
