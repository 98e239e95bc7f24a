"""RabbitMQ's alarms: it blocks all publishers, while ingress, the API and what is in hand go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from chaos.fault import Fault, NotAsItMustBe, Strike
from chaos.rig import Rig, Shape

_MIN_SECONDS, _MAX_SECONDS = 2.0, 6.0
#: Within so long ingress and the API answer during the alarm.
_ANSWER_SECONDS = 5.0
_TWO_MINUTES_SECONDS = 120.0
#: Posts and requests during the two minutes, and those before memory is looked at first.
_POST_EVERY_SECONDS = 0.25  # on average
_WARM_UP_POSTS = 20
#: Ingress and the API may have grown so much by the end: what waits is in rows, not in them.
_GROWTH = 1.1

_Alarm = tuple[tuple[str, str], tuple[str, str]]
#: Commands of rabbitmqctl that raise the alarm and end it.
_MEMORY: _Alarm = ("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.4")
_DISK: _Alarm = ("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "20MB")


def _alarming(alarm: _Alarm, meanwhile: Callable[[Rig, Random], None]) -> Strike:
    raise_it, end_it = alarm

    def strike(rig: Rig, chance: Random) -> int:
        rig.post_and_wait(chance)
        rig.cluster.broker.run_rabbitmqctl(*raise_it)
        try:
            if not rig.cluster.broker.run_rabbitmqctl("eval", "rabbit_alarm:get_alarms().").strip("[]\n"):
                raise NotAsItMustBe("there was no alarm")
            meanwhile(rig, chance)
        finally:
            rig.cluster.broker.run_rabbitmqctl(*end_it)
        return 0

    return strike


def _for_some_seconds(rig: Rig, chance: Random) -> None:
    _answers(rig)
    time.sleep(chance.uniform(_MIN_SECONDS, _MAX_SECONDS))


def _for_two_minutes(rig: Rig, chance: Random) -> None:
    """Posts and requests all the while; whoever takes them does not grow."""
    address = rig.create_list("steady", frozenset(f"steady-{number}@members.test" for number in range(10)))
    for _ in range(_WARM_UP_POSTS):
        _answers(rig, address)
    services = [rig.cluster.processes.service(name) for name in ("ingress_smtp-1", "admin_api-1")]
    before = {service.name: _resident_kilobytes(service.pid) for service in services}
    until_seconds = time.monotonic() + _TWO_MINUTES_SECONDS
    while time.monotonic() < until_seconds:
        _answers(rig, address)
        time.sleep(chance.uniform(0, 2 * _POST_EVERY_SECONDS))
    for service in services:
        growth = _resident_kilobytes(service.pid) / before[service.name]
        if growth > _GROWTH:
            raise NotAsItMustBe(f"{service.name} had {growth:.2f} times its memory at the end of the alarm")


def _resident_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def _answers(rig: Rig, list_address: str | None = None) -> None:
    """A post is taken, and the API tells of it, while publishers are blocked."""
    began_seconds = time.monotonic()
    mailing = rig.post(list_address)
    rig.cluster.api.message(mailing.message_id)
    took_seconds = time.monotonic() - began_seconds
    if took_seconds > _ANSWER_SECONDS:
        raise NotAsItMustBe(f"a post and a look at it took {took_seconds:.1f} s during the alarm")


_SHAPE = Shape(recipients=1000)

FAULTS = (
    Fault("memory-alarm", _alarming(_MEMORY, _for_some_seconds), _SHAPE),
    Fault("disk-alarm", _alarming(_DISK, _for_some_seconds), _SHAPE),
    Fault("memory-alarm-two-minutes", _alarming(_MEMORY, _for_two_minutes), _SHAPE, at_most_seeds=1),
    Fault("disk-alarm-two-minutes", _alarming(_DISK, _for_two_minutes), _SHAPE, at_most_seeds=1),
)
