"""What processes cost: CPU seconds and peak memory, as Linux counts them (proc(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from deploy.local.child import descendants

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time that these processes and all they started have used so far, those included that have ended since."""
    trees = {found for pid in pids for found in (pid, *descendants(pid))}
    return sum(_ticks(pid) for pid in trees) / _TICKS_A_SECOND


def peak_megabytes(pid: int) -> float:
    """The most memory that the process ever had resident (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def _ticks(pid: int) -> int:
    """User and system time of a process and of its children that were waited for."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15])
    return 0
