"""SIGSTOP of a sender, and SIGCONT when both its lease and its connections to the broker are over."""

from __future__ import annotations

import time
from random import Random

from chaos.fault import Fault
from chaos.rig import Rig

#: RabbitMQ gives a silent connection up after two heartbeats of 5 s, at the latest after three.
_MIN_SECONDS, _MAX_SECONDS = 15.5, 18.0


def freeze_sender(rig: Rig, chance: Random) -> int:
    """A node stands still in the middle of its transactions, and then goes on as if nothing had been."""
    rig.post_and_wait(chance)
    node = chance.choice(rig.cluster.nodes)
    open_connections = rig.connections_of(node)
    node.freeze()
    time.sleep(chance.uniform(_MIN_SECONDS, _MAX_SECONDS))
    node.thaw()
    return open_connections


FAULTS = (Fault("sender-frozen", freeze_sender),)
