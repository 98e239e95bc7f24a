"""A wall clock of a process's own, right, wrong or set back: Debian's libfaketime, loaded before the process.

Only CLOCK_REALTIME is another: what an operator, or NTP, may set. The clocks that waits are measured by go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.local.debian import NotInstalledError


class WallClock:
    """What the processes that are started with `environment` take for the time of day."""

    def __init__(self, file: Path, *, ahead_seconds: float = 0.0) -> None:
        """`file` is where the clock stands. Raises NotInstalledError where the package faketime is not installed."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        if library is None:
            raise NotInstalledError("libfaketime is not here.")
        self._file = file
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set_ahead(ahead_seconds)

    def set_ahead(self, seconds: float) -> None:
        """From now on the clock is so much ahead of the machine's; behind it, when that is negative."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}s\n")
        new.replace(self._file)  # never read half
