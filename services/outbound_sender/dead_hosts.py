"""Addresses at which no mail server was found a moment ago."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

#: How long an address is left alone. Less than the first wait of the retry schedule (5 minutes, less 10 %), so that
#: each attempt of a recipient finds it worth trying again.
DEAD_SECONDS = 240.0
MAX_DEAD = 10_000


class DeadHosts:
    """What nobody answered at, and why; forgotten after `DEAD_SECONDS`, or when somebody answers."""

    def __init__(self, now_seconds: Callable[[], float] = time.monotonic) -> None:
        self._now_seconds = now_seconds
        self._dead: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def add(self, address: str, because: str) -> None:
        """Nobody answered at `address`."""
        self._dead[address] = (self._now_seconds() + DEAD_SECONDS, because)
        self._dead.move_to_end(address)
        if len(self._dead) > MAX_DEAD:
            self._dead.popitem(last=False)

    def discard(self, address: str) -> None:
        """Somebody answered at `address`."""
        self._dead.pop(address, None)

    def why(self, address: str) -> str | None:
        """What happened at `address` when it was tried within the last minutes; `None`: try it."""
        until_seconds, because = self._dead.get(address, (0.0, ""))
        if self._now_seconds() < until_seconds:
            return because
        self.discard(address)
        return None
