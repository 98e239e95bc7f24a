"""Listfleet's services as processes of this machine, on free ports, with handles to kill, freeze and restart them."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deploy.local.child import Child, StartFailedError
from deploy.local.ports import LOOPBACK, free_port

PROJECT = Path(__file__).resolve().parents[2]


class Service(Child):
    """One process of one service, `python -m services.KIND`."""

    def __init__(self, name: str, kind: str, log: Path, environment: Mapping[str, str]) -> None:
        self.kind = kind
        self.health_host = environment.get("LISTFLEET_HEALTH_HOST", LOOPBACK)
        self.health_port = int(environment.get("LISTFLEET_HEALTH_PORT") or free_port())
        super().__init__(
            name,
            [sys.executable, "-m", f"services.{kind}"],
            log,
            environment={**environment, "LISTFLEET_HEALTH_PORT": str(self.health_port)},
            folder=PROJECT,
        )

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.health_host}:{self.health_port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_until_ready(self, timeout_seconds: float = 30) -> None:
        self.wait_until(self.is_ready, timeout_seconds)

    def restart(self) -> None:
        """Starts it again after it ended, with the same settings and ports, and waits."""
        self.start()
        self.wait_until_ready()


class Cluster:
    """All services against one database, one broker and one next hop. Starting does not wait; `wait_until_ready` does.

    `settings` are LISTFLEET_* variables for every process; those of a single one are given when it is started.
    """

    def __init__(self, logs: Path, settings: Mapping[str, str]) -> None:
        self.logs = logs
        self.services: list[Service] = []
        self._settings = {name: value for name, value in os.environ.items() if not name.startswith("LISTFLEET_")}
        self._settings |= settings
        logs.mkdir(parents=True, exist_ok=True)
        for old in logs.glob("*.log"):
            old.unlink()

    def migrate(self) -> None:
        """Brings the database to the newest schema. Raises StartFailedError."""
        ran = subprocess.run(
            [sys.executable, "-m", "deploy.migrations"],
            cwd=PROJECT,
            env=self._settings,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise StartFailedError(f"The database's schema could not be brought up to date.\n{ran.stderr[-2000:]}")

    def start_service(self, kind: str, name: str | None = None, **settings: str) -> Service:
        """Starts one more process; settings are given as `admin_port="8080"` for LISTFLEET_ADMIN_PORT."""
        return self.start_process(kind, name, {f"LISTFLEET_{key.upper()}": value for key, value in settings.items()})

    def start_process(self, kind: str, name: str | None, environment: Mapping[str, str]) -> Service:
        """The same, with whatever variables."""
        name = name or f"{kind}-{sum(service.kind == kind for service in self.services) + 1}"
        service = Service(name, kind, self.logs / f"{name}.log", {**self._settings, **environment})
        service.start()
        self.services.append(service)
        return service

    def service(self, name: str) -> Service:
        return next(service for service in self.services if service.name == name)

    def of_kind(self, kind: str) -> list[Service]:
        return [service for service in self.services if service.kind == kind]

    def wait_until_ready(self, timeout_seconds: float = 60) -> None:
        """Raises StartFailedError with the last log lines of the one that failed."""
        for service in self.services:
            if service.exit_code is None:
                service.wait_until_ready(timeout_seconds)

    def stop(self, grace_seconds: float = 20) -> None:
        """Ends all processes, the senders before what they need."""
        for service in reversed(self.services):
            service.thaw()
            service.terminate()
        for service in self.services:
            service.stop(grace_seconds)
