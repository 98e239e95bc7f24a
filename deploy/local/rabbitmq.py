"""A private node of this machine's RabbitMQ: own name, ports, folder, cookie and epmd."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local.child import Child, descendants, see_off
from deploy.local.ports import LOOPBACK, free_port

_CONFIGURATION = """\
# Written by deploy/local/rabbitmq.py at every start.
default_user = listfleet
default_pass = {password}
log.file = false
log.console = true
log.console.level = info
# The default would stop publishers on a small disk that is nearly full; a demo may go on.
disk_free_limit.absolute = 20MB
"""


class RabbitMQ:
    """One node with its folder. The folder holds queues, log and password, and survives a stop."""

    def __init__(
        self, folder: Path, server: Path, *, port: int | None = None, parameters: Mapping[str, int] | None = None
    ) -> None:
        """`server` is the start script, as `rabbitmq_install.find_or_install_server` returns it; `parameters` are
        of RabbitMQ's Erlang application, also those that rabbitmq.conf has no word for."""
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._epmd_port = free_port()
        self._parameters = parameters or {}
        self._server = server
        self._environment_of_node = environment = self._environment(free_port())
        self._log = self._folder / "log"
        self._log_start_bytes = 0
        # Ours to start and to end: the one that a node starts by itself would outlive everything.
        self._epmd = Child("epmd", [_epmd_program(), "-address", LOOPBACK], self._log, environment=environment)
        self._node = Child("RabbitMQ", [server, "-noinput", "-start_epmd", "false"], self._log, environment=environment)

    @property
    def url(self) -> str:
        return f"amqp://listfleet:{self._password()}@{LOOPBACK}:{self.port}/"

    @property
    def pid(self) -> int:
        return self._node.pid

    @property
    def is_running(self) -> bool:
        return self._node.is_running

    def start(self) -> str:
        """Starts the node and waits, about 6 s; its URL."""
        self.launch()
        return self.wait_until_ready()

    def launch(self) -> None:
        """Starts the node without waiting for it, so that other parts may start meanwhile."""
        configuration = self._folder / "rabbitmq.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(_CONFIGURATION.format(password=self._password()))
        (self._folder / "enabled_plugins").write_text("[].\n")
        if not self._epmd.is_running:
            self._epmd.start()
        self._log_start_bytes = self._log.stat().st_size
        self._node.start()

    def wait_until_ready(self, timeout_seconds: float = 90) -> str:
        self._node.wait_until(self._has_started, timeout_seconds)
        return self.url

    def stop(self) -> None:
        """Ends the node in order, and its helpers with it."""
        helpers = descendants(self.pid) if self._node.is_running else []
        self._node.stop(grace_seconds=30)
        self._epmd.stop()
        see_off(helpers)

    def kill(self) -> None:
        """SIGKILL of the node: a crash; its helpers see it and end. `start` recovers, on the same port."""
        helpers = descendants(self.pid) if self._node.is_running else []
        self._node.kill()
        see_off(helpers)

    def log_text(self) -> str:
        """What the node has logged since it was started last."""
        with self._log.open("rb") as log:
            log.seek(self._log_start_bytes)
            return log.read().decode("utf-8", "replace")

    def run_rabbitmqctl(self, *arguments: str) -> str:
        """What the command prints; about 1 s. Raises CalledProcessError."""
        return subprocess.run(
            [self._server.with_name("rabbitmqctl"), "--quiet", *arguments],
            env=self._environment_of_node,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def _environment(self, distribution_port: int) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return inherited | {
            "HOME": str(self._folder),  # where Erlang keeps the cookie
            "ERL_CRASH_DUMP": str(self._folder / "erl_crash.dump"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": "listfleet@localhost",  # not the machine's name, which may change between starts
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(
                [
                    "-kernel inet_dist_use_interface {127,0,0,1}",
                    *(f"-rabbit {name} {value}" for name, value in self._parameters.items()),
                ]
            ),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder),
            # The script then becomes the node instead of watching over it, so that our signals reach the node.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _password(self) -> str:
        file = self._folder / "password"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24))
        return file.read_text()

    def _has_started(self) -> bool:
        # The port answers a little earlier, when queues still have no leader and what is published is refused.
        return "Server startup complete" in self.log_text()


def _epmd_program() -> str:
    """Erlang's port mapper; on Debian it is on the path, elsewhere beside `erl`."""
    found = shutil.which("epmd")
    if found is None:
        erl = shutil.which("erl")
        beside = sorted(Path(erl).resolve().parent.glob("../**/epmd")) if erl else []
        if not beside:
            raise FileNotFoundError("Erlang's epmd was not found beside rabbitmq-server.")
        found = str(beside[0])
    return found
