"""The network between one node and the broker, the database, or both, is cut, and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random

from chaos.fault import Fault, Strike
from chaos.link import Cut, Link
from chaos.rig import LINKED, Rig, Shape, Ways

#: From less than a lease of 5 s to more than two.
_MIN_SECONDS, _MAX_SECONDS = 1.0, 12.0


def _cutting(links_of: Callable[[Ways], Sequence[Link]], *, loses_its_lease: bool) -> Strike:
    def strike(rig: Rig, chance: Random) -> int:
        rig.post_and_wait(chance)
        node, how = rig.cluster.node(chance.choice(LINKED)), chance.choice(list(Cut))
        links = links_of(rig.ways[node.name])
        open_connections = rig.connections_of(node)  # none, when it is a scheduler
        for link in links:
            link.cut(how)
        time.sleep(chance.uniform(_MIN_SECONDS, _MAX_SECONDS))
        for link in links:
            link.mend()
        return open_connections if loses_its_lease else 0

    return strike


def _fault(name: str, strike: Strike) -> Fault:
    return Fault(name, strike, Shape(has_links=True))


FAULTS = (
    _fault("broker-cut-off", _cutting(lambda ways: [ways.broker], loses_its_lease=False)),
    _fault("database-cut-off", _cutting(lambda ways: [ways.database], loses_its_lease=True)),
    _fault("both-cut-off", _cutting(lambda ways: [ways.database, ways.broker], loses_its_lease=True)),
)
