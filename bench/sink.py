"""Where all mail of a comparison goes: one program for all who are compared, which counts what it takes."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.local.child import Child
from deploy.local.cluster import PROJECT
from deploy.local.ports import LOOPBACK, free_port, is_free

#: More connections than anybody here opens; beyond, `smtp-sink` would let them wait.
_MAX_CONNECTIONS = 4000
_LOOK_SECONDS = 0.01
_COUNT = re.compile(rb"mesg=(\d+)")


class Sink:
    """A program that takes all mail and writes `mesg=COUNT` as it counts."""

    def __init__(self, name: str, port: int, command: Sequence[str], output: Path) -> None:
        self.name, self.port = name, port
        self._output = output
        self._process = Child(f"the sink, {name}", command, output, folder=PROJECT)

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        self._process.start()
        self._process.wait_until(lambda: not is_free(self.port), 10)

    def stop(self) -> None:
        self._process.stop()

    @property
    def copies(self) -> int:
        """How many it has taken."""
        with self._output.open("rb") as output:
            output.seek(max(0, self._output.stat().st_size - 4096))
            counts = _COUNT.findall(output.read())
        # The last one may be half written.
        return max(int(count) for count in counts) if counts else 0

    def wait_for(self, copies: int, timeout_seconds: float) -> float:
        """The moment (`time.time`) at which it had so many. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while self.copies < copies:
            if time.monotonic() > deadline:
                raise TimeoutError(f"The sink has {self.copies} messages instead of {copies}.")
            time.sleep(_LOOK_SECONDS)
        return time.time()


@contextmanager
def running_sink(folder: Path) -> Iterator[Sink]:
    """Postfix's `smtp-sink` where it is installed, else our own: for messages with one recipient each."""
    program, port = postfix_tool("smtp-sink"), free_port()
    if program is None:
        with running_catcher(folder) as catcher:
            yield catcher
        return
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [program, "-c", "-m", str(_MAX_CONNECTIONS), *user, f"{LOOPBACK}:{port}", "1024"]
    yield from _running(Sink("smtp-sink", port, command, folder / "sink.log"))


@contextmanager
def running_catcher(folder: Path, *, latency_seconds: float = 0.0) -> Iterator[Sink]:
    """Our own, which counts recipients where `smtp-sink` counts messages, and can hold every reply back."""
    port = free_port()
    command = [sys.executable, "-m", "bench.counting_catcher", str(port), str(latency_seconds)]
    yield from _running(Sink("our own catcher", port, command, folder / f"catcher-{port}.log"))


def _running(sink: Sink) -> Iterator[Sink]:
    sink.start()
    try:
        yield sink
    finally:
        sink.stop()


def postfix_tool(name: str) -> str | None:
    """The path of one of Postfix's programs, which Debian keeps off the path of ordinary users."""
    return shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
