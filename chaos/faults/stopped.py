"""Graceful stops: of one sender, and of all nodes one after the other. Nobody gets a second copy."""

from __future__ import annotations

from random import Random

from chaos.fault import Fault, NotAsItMustBe
from chaos.rig import Rig, Shape
from deploy.local.cluster import Service

_GRACE_SECONDS = 60


def stop_sender(rig: Rig, chance: Random) -> int:
    """SIGTERM of one sender."""
    rig.post_and_wait(chance)
    _stop(chance.choice(rig.cluster.nodes))
    return 0


def restart_all(rig: Rig, chance: Random) -> int:
    """Senders and schedulers are stopped and started again, in any order, each when the one before is ready."""
    rig.post_and_wait(chance)
    nodes = [*rig.cluster.nodes, *rig.cluster.processes.of_kind("scheduler")]
    chance.shuffle(nodes)
    for node in nodes:
        _stop(node)
        node.restart()
    return 0


def _stop(node: Service) -> None:
    node.terminate()
    code = node.wait(_GRACE_SECONDS)
    if code != 0:
        raise NotAsItMustBe(f"{node.name} ended with {code} instead of 0 within {_GRACE_SECONDS} s")


FAULTS = (
    Fault("sender-stopped", stop_sender),
    Fault("rolling-restart", restart_all, Shape(senders=3, recipients=3000)),
)
