"""RabbitMQ's alarms: it blocks all publishers, while ingress, the API and what is in hand go on."""

from __future__ import annotations

import time
from random import Random

from chaos.fault import Fault, NotAsItMustBe, Strike
from chaos.rig import Rig, Shape

_MIN_SECONDS, _MAX_SECONDS = 2.0, 6.0
#: Within so long ingress and the API answer during the alarm.
_ANSWER_SECONDS = 5.0


def _alarming(raise_it: tuple[str, str], end_it: tuple[str, str]) -> Strike:
    """Commands of rabbitmqctl."""

    def strike(rig: Rig, chance: Random) -> int:
        rig.post_and_wait(chance)
        rig.cluster.broker.run_rabbitmqctl(*raise_it)
        try:
            if not rig.cluster.broker.run_rabbitmqctl("eval", "rabbit_alarm:get_alarms().").strip("[]\n"):
                raise NotAsItMustBe("there was no alarm")
            _answers(rig)
            time.sleep(chance.uniform(_MIN_SECONDS, _MAX_SECONDS))
        finally:
            rig.cluster.broker.run_rabbitmqctl(*end_it)
        return 0

    return strike


def _answers(rig: Rig) -> None:
    """A post is taken, and the API tells of it, while publishers are blocked."""
    began_seconds = time.monotonic()
    mailing = rig.post()
    rig.cluster.api.message(mailing.message_id)
    took_seconds = time.monotonic() - began_seconds
    if took_seconds > _ANSWER_SECONDS:
        raise NotAsItMustBe(f"a post and a look at it took {took_seconds:.1f} s during the alarm")


def _fault(name: str, strike: Strike) -> Fault:
    return Fault(name, strike, Shape(recipients=1000))


FAULTS = (
    _fault("memory-alarm", _alarming(("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.4"))),
    _fault("disk-alarm", _alarming(("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "20MB"))),
)
