"""50,000 connections to an ingress node within ten seconds; a sending server that behaves is served all the time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from chaos.fault import Fault, NotAsItMustBe
from chaos.rig import Rig, Shape
from deploy.local.cluster import PROJECT
from deploy.local.live_cluster import wait_until

CONNECTIONS, SECONDS = 50_000, 10
#: From the beginning of a connection to the 250 for its message.
_MOST_SECONDS = 5.0
#: Of sessions that are open; each has its buffers.
_MOST_GROWTH_BYTES = 400_000_000
_END_SECONDS = 120
_BETWEEN_POSTS_SECONDS = 0.1
#: Closed connections that the kernel still keeps in mind (TIME-WAIT, a minute): of a flood before, and so many that a
#: second one would be about them.
_MOST_REMEMBERED = 20_000
_FORGOTTEN_SECONDS = 120


def strike(rig: Rig, _chance: Random) -> int:
    """Posts to a list of its own all the time, each in a session of its own."""
    wait_until(lambda: _remembered() < _MOST_REMEMBERED, _FORGOTTEN_SECONDS, every_seconds=1)
    [ingress] = rig.cluster.processes.of_kind("ingress_smtp")
    few = f"flood-{len(rig.lists)}"
    address = rig.create_list(few, frozenset({f"{few}@members.test"}))
    rig.post()
    before_bytes = _resident_bytes(ingress.pid)
    most_bytes, took_seconds = before_bytes, []
    command = [sys.executable, "-m", "chaos.flooding", str(rig.cluster.smtp_port), str(CONNECTIONS), str(SECONDS)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as flood:
        end_seconds = time.monotonic() + _END_SECONDS
        while flood.poll() is None:
            if time.monotonic() > end_seconds:
                flood.kill()
                raise NotAsItMustBe(f"the flood did not end within {_END_SECONDS} s")
            began_seconds = time.monotonic()
            rig.post(address)
            took_seconds.append(time.monotonic() - began_seconds)
            most_bytes = max(most_bytes, _resident_bytes(ingress.pid))
            time.sleep(_BETWEEN_POSTS_SECONDS)
        assert flood.stdout is not None  # noqa: S101
        seen = json.loads(flood.stdout.read())
    p99_seconds = sorted(took_seconds)[int(0.99 * len(took_seconds))]
    grown_bytes = most_bytes - before_bytes
    print(
        f"chaos: flood: {seen} | {len(took_seconds)} posts beside it, p99 {p99_seconds:.2f} s, slowest"
        f" {max(took_seconds):.2f} s | memory +{grown_bytes / 1e6:.0f} MB",
        flush=True,
    )
    if seen["connections"] != CONNECTIONS:
        raise NotAsItMustBe(f"there was no flood: {seen}")
    if p99_seconds > _MOST_SECONDS:
        raise NotAsItMustBe(f"a client that behaves waited for {p99_seconds:.1f} s (p99)")
    if grown_bytes > _MOST_GROWTH_BYTES:
        raise NotAsItMustBe(f"ingress took {grown_bytes / 1e6:.0f} MB more")
    return 0


def _remembered() -> int:
    found = re.search(r"^TCP:.* tw (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _resident_bytes(pid: int) -> int:
    kilobytes = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(kilobytes.split()[1]) * 1024


FAULTS = (Fault("connection-flood", strike, Shape(senders=1, recipients=1000), at_most_seeds=5),)
