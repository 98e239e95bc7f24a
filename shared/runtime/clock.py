"""Clocks that nobody can set back."""

from __future__ import annotations

import time


def seconds_since_boot() -> float:
    """Goes on while the machine sleeps (CLOCK_BOOTTIME), so that a node that was suspended knows how long."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
