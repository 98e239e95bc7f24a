"""One process that belongs to us: it logs to a file, and it ends when we end, even by SIGKILL."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class StartFailedError(Exception):
    """A process ended before it was ready, or was not ready in time; the text ends with its last log lines."""


class Child:
    """A process that can be started again with the same command, environment and log.

    `start` must be called on a thread that lives as long as the child shall: Linux sends the death signal when the
    *thread* that started the child ends.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [*as_user(user), *_die_with_parent(), *map(str, command)]
        self._environment = environment
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C is ours; we stop the children in order
            )

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ProcessLookupError(f"{self.name} was not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The code it ended with (negative: the signal); `None` while it runs."""
        return self._process.poll() if self._process else None

    def send(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.send(signal.SIGKILL)
        self.wait(10)

    def wait(self, timeout_seconds: float) -> int | None:
        """The exit code, `None` if it still runs after the time."""
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_seconds)
        return None

    def stop(self, grace_seconds: float = 10) -> None:
        """SIGTERM, and SIGKILL after the grace."""
        self.terminate()
        if self.is_running and self.wait(grace_seconds) is None:
            self.kill()

    def wait_until(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Returns when `is_ready()`; raises StartFailedError when the process ends first or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if not self.is_running:
                raise StartFailedError(f"{self.name} ended with code {self.exit_code}.\n{self.last_log_lines()}")
            if time.monotonic() > deadline:
                raise StartFailedError(
                    f"{self.name} was not ready after {timeout_seconds:.0f} s.\n{self.last_log_lines()}"
                )
            time.sleep(0.05)

    def last_log_lines(self, count: int = 15) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-count:] if self.log.exists() else []
        return "\n".join([f"The last lines of {self.log}:", *lines])


def as_user(name: str | None) -> list[str]:
    """What stands before a command to run it as that user, in that user's own group only; `None`: as ourselves."""
    if name is None:
        return []
    user = pwd.getpwnam(name)
    return [_setpriv(), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def descendants(pid: int) -> list[int]:
    """The processes that `pid` started, and theirs."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(entry.name)):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found[1:]


def see_off(pids: Sequence[int], patience_seconds: float = 5) -> None:
    """Returns when none of these processes is left; after the patience they are killed."""
    deadline = time.monotonic() + patience_seconds
    for pid in pids:
        while not has_ended(pid):
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def has_ended(pid: int) -> bool:
    """True also for a process that is dead and that its parent, or process 1, has not reaped yet."""
    fields = _stat(pid)
    return not fields or fields[0] in "ZX"


def _stat(pid: int) -> list[str]:
    """The fields of proc(5)'s stat from the third on: state, parent, ...; empty when there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _die_with_parent() -> list[str]:
    return [_setpriv(), "--pdeathsig", "KILL", "--"] if sys.platform == "linux" else []


def _setpriv() -> str:
    """The tool of util-linux that sets such things of a process and then becomes the command."""
    return shutil.which("setpriv") or "/usr/bin/setpriv"
