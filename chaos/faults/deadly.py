"""A recipient whose message kills whatever node sends it."""

from __future__ import annotations

import os
import queue
import signal
import time
from random import Random

from chaos.fault import Fault, NotAsItMustBe
from chaos.rig import Mailing, Rig, Shape

#: Deaths until a delivery is parked.
_DEATHS = 5
_PARK_SECONDS = 120


def be_deadly(rig: Rig, chance: Random) -> int:
    """The recipient is parked after five deaths, its neighbours get one copy. When the cause is gone, it is sent."""
    deadly = chance.choice(sorted(next(iter(rig.lists.values()))))
    deaths: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()

    def kill(name: str) -> None:
        """In the sink's thread: the node is dead before anything is answered."""
        node = rig.cluster.node(name)
        deaths.put((name, rig.connections_of(node)))
        os.kill(node.pid, signal.SIGKILL)

    rig.sink.be_deadly_for(deadly, kill)
    mailing = rig.post()
    allowed_extra = sum(_see_it_die(rig, deaths) for _ in range(_DEATHS))
    rig.wait_until_finished(mailing)
    if not deaths.empty():
        raise NotAsItMustBe(f"a node died after the recipient's {_DEATHS} deaths")
    if deadly in rig.sink.reached[mailing.subject]:
        raise NotAsItMustBe("the deadly recipient has a copy")
    rig.sink.be_deadly_for(None, kill)
    _send_again(rig, mailing, deadly)
    return allowed_extra


def _see_it_die(rig: Rig, deaths: queue.SimpleQueue[tuple[str, int]]) -> int:
    """Waits for the next death, and starts the node again; how many connections it had."""
    try:
        name, open_connections = deaths.get(timeout=_PARK_SECONDS)
    except queue.Empty:
        raise NotAsItMustBe(f"the recipient was not tried for {_PARK_SECONDS} s, and is not parked") from None
    node = rig.cluster.node(name)
    node.wait(10)
    node.start()
    return open_connections


def _send_again(rig: Rig, mailing: Mailing, recipient: str) -> None:
    parked = [item for item in rig.cluster.api.parked() if item["recipient"] == recipient]
    if len(parked) != 1:
        raise NotAsItMustBe(f"the recipient is parked {len(parked)} times")
    rig.cluster.api.retry_parked(parked[0]["id"])
    deadline = time.monotonic() + _PARK_SECONDS
    while recipient not in rig.sink.reached[mailing.subject]:
        if time.monotonic() > deadline:
            raise NotAsItMustBe("what was parked was not sent again")
        time.sleep(0.05)


FAULTS = (Fault("deadly-recipient", be_deadly, Shape(recipients=1000, lease_seconds=3)),)
