"""SIGSTOP of a sender, and SIGCONT when both its lease and its connections to the broker are over."""

from __future__ import annotations

import time
from random import Random

from chaos.fault import Fault
from chaos.rig import Rig

#: RabbitMQ gives a silent connection up after two heartbeats of 5 s, at the latest after three.
_MIN_SECONDS, _MAX_SECONDS = 15.5, 18.0
_TEN_MINUTES_SECONDS = 600.0


def freeze_sender(rig: Rig, chance: Random) -> int:
    """A node stands still in the middle of its transactions, and then goes on as if nothing had been."""
    return _freeze(rig, chance, chance.uniform(_MIN_SECONDS, _MAX_SECONDS))


def freeze_sender_for_ten_minutes(rig: Rig, chance: Random) -> int:
    """The node comes back long after the mailing is over."""
    return _freeze(rig, chance, _TEN_MINUTES_SECONDS)


def _freeze(rig: Rig, chance: Random, seconds: float) -> int:
    rig.post_and_wait(chance)
    node = chance.choice(rig.cluster.nodes)
    open_connections = rig.connections_of(node)
    node.freeze()
    time.sleep(seconds)
    node.thaw()
    return open_connections


FAULTS = (
    Fault("sender-frozen", freeze_sender),
    Fault("sender-frozen-ten-minutes", freeze_sender_for_ten_minutes, at_most_seeds=1),
)
