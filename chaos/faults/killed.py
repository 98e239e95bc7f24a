"""SIGKILL of a sender, of the scheduler that releases, of RabbitMQ, of PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from random import Random

from chaos import rows
from chaos.fault import Fault, NotAsItMustBe
from chaos.rig import Rig, Shape

#: How long servers are gone before somebody starts them again.
_MAX_DOWN_SECONDS = 2.0
_RELEASE_SECONDS = 5.0
_KILLS = 50


def kill_sender(rig: Rig, chance: Random) -> int:
    """A node dies with what it has in hand; half of the time it is started again at once, under the same name."""
    rig.post_and_wait(chance)
    node = chance.choice(rig.cluster.nodes)
    open_connections = rig.connections_of(node)
    node.kill()
    if chance.random() < 0.5:
        node.start()
    return open_connections


def kill_senders_often(rig: Rig, chance: Random) -> int:
    """Fifty times in one large mailing a node dies and is started again, while others are still on their way back."""
    mailing, allowed = rig.post(), 0
    for number in range(_KILLS):
        rig.wait_for_share(mailing, (number + chance.random()) / _KILLS * 0.9)
        node = chance.choice([node for node in rig.cluster.nodes if node.is_running])
        allowed += rig.connections_of(node)
        node.kill()
        node.start()
    return allowed


def kill_releasing_scheduler(rig: Rig, chance: Random) -> int:
    """The scheduler that is seen in a release step dies."""
    rig.post_and_wait(chance)
    name = asyncio.run(rows.releasing_scheduler(rig.cluster.database_url, _RELEASE_SECONDS))
    if name is None:
        raise NotAsItMustBe("no scheduler was seen in a release step")
    scheduler = rig.cluster.node(name)
    scheduler.kill()
    if chance.random() < 0.5:
        scheduler.start()
    return 0


def kill_broker(rig: Rig, chance: Random) -> int:
    """All messages in flight, and all connections, are gone; batches in hand are finished without it."""
    rig.post_and_wait(chance)
    rig.cluster.broker.kill()
    time.sleep(chance.uniform(0, _MAX_DOWN_SECONDS))
    rig.cluster.broker.start()
    return 0


def kill_database(rig: Rig, chance: Random) -> int:
    """The database dies with transactions in flight; nobody knows which of them were committed."""
    rig.post_and_wait(chance)
    open_connections = rig.connections_of(*rig.cluster.nodes)
    rig.cluster.database.kill()
    time.sleep(chance.uniform(0, _MAX_DOWN_SECONDS))
    rig.cluster.database.start()
    return open_connections


FAULTS = (
    Fault("sender-killed", kill_sender),
    Fault(
        "senders-killed-often",
        kill_senders_often,
        Shape(senders=8, recipients=100_000, mailing_seconds=1200),
        at_most_seeds=1,
    ),
    Fault("scheduler-killed", kill_releasing_scheduler),
    Fault("broker-killed", kill_broker),
    Fault("database-killed", kill_database),
)
