"""Addresses are suppressed in the middle of a mailing that would go to them."""

from __future__ import annotations

import time
from random import Random

from chaos.fault import Fault, NotAsItMustBe
from chaos.rig import Rig, Shape

_ADDRESSES = 100
#: From the API's answer to the last message that may begin.
_IN_FORCE_SECONDS = 5.0


def suppress_midway(rig: Rig, chance: Random) -> int:
    """Nobody gets a message that came later than some seconds after the answer to the suppression."""
    mailing = rig.post_and_wait(chance)
    suppressed_at_seconds: dict[str, float] = {}
    for address in chance.sample(sorted(mailing.members), _ADDRESSES):
        rig.cluster.api.suppress(address)
        suppressed_at_seconds[address] = time.monotonic()
    rig.wait_until_finished(mailing)
    late = [
        copy.recipient
        for copy in list(rig.sink.copies)
        if copy.received_seconds > suppressed_at_seconds.get(copy.recipient, float("inf")) + _IN_FORCE_SECONDS
    ]
    for address in suppressed_at_seconds:
        rig.cluster.api.allow(address)
    if late:
        raise NotAsItMustBe(
            f"{len(late)} messages came {_IN_FORCE_SECONDS:.0f} s after their addresses were suppressed"
        )
    return 0


# A long mailing: what is suppressed early would go out late.
FAULTS = (Fault("suppressed-midway", suppress_midway, Shape(recipients=3000, limits={"max_connections": 4})),)
