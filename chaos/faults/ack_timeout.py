"""The broker's patience for acknowledgements is over while a slow destination holds all slots of a node."""

from __future__ import annotations

from random import Random

from chaos.fault import Fault, NotAsItMustBe
from chaos.rig import Rig, Shape

_TIMED_OUT = "timed out waiting for delivery acknowledgement"
#: Neighbours in the list are in the same batches, so that all slots of the nodes that have them wait at once.
_SLOW_RECIPIENTS = 48
_HOLD_SECONDS = 5.0


def outlast_acknowledgements(rig: Rig, chance: Random) -> int:
    """RabbitMQ closes the channel and hands everything on it out again; all of that is claimed."""
    timed_out_before = rig.cluster.broker.log_text().count(_TIMED_OUT)
    first = chance.randrange(rig.shape.recipients - _SLOW_RECIPIENTS)
    slow = frozenset(f"member-{number}@members.test" for number in range(first, first + _SLOW_RECIPIENTS))
    rig.sink.answer_slowly(slow, _HOLD_SECONDS)
    rig.wait_until_finished(rig.post())
    rig.sink.answer_slowly(frozenset(), 0)
    if rig.cluster.broker.log_text().count(_TIMED_OUT) == timed_out_before:
        raise NotAsItMustBe("no acknowledgement was late")
    return 0


FAULTS = (
    Fault(
        "ack-timeout",
        outlast_acknowledgements,
        # Milliseconds; 30 minutes, looked at every minute, otherwise.
        Shape(broker_parameters={"consumer_timeout": 2000, "channel_tick_interval": 500}),
    ),
)
