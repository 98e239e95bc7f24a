"""Where this machine's RabbitMQ is; on Debian, and as root, it is installed when it is nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Asked by Debian's package scripts before they start a service: exit code 101 means "do not".
_POLICY = Path("/usr/sbin/policy-rc.d")
#: Debian's own start script; the one on the path is a wrapper that switches to the user rabbitmq.
_DEBIAN_SCRIPTS = "/usr/lib/rabbitmq/bin"
_MORE_FOLDERS = "/usr/local/sbin:/usr/sbin:/opt/homebrew/sbin"


class RabbitMQMissingError(Exception):
    """RabbitMQ is not here and may not be installed by us; the text says what the user can do."""


def find_server() -> Path | None:
    """The script that starts a node; `None` when RabbitMQ is not installed."""
    path = f"{_DEBIAN_SCRIPTS}:{os.environ.get('PATH', '')}:{_MORE_FOLDERS}"
    found = shutil.which("rabbitmq-server", path=path)
    return Path(found) if found else None


def find_or_install_server() -> Path:
    """The script that starts a node, after installing it where that is allowed.

    Raises RabbitMQMissingError.
    """
    server = find_server()
    if server is None:
        _install()
        server = find_server()
    if server is None:
        raise RabbitMQMissingError(_advice())
    return server


def _install() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None or not _is_allowed():
        raise RabbitMQMissingError(_advice())
    print("Installing rabbitmq-server (apt-get) ...", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    with _no_service_is_started():
        for step in (["update"], ["install", "--yes", "--no-install-recommends", "rabbitmq-server"]):
            ran = subprocess.run([*apt, *step], env=environment, capture_output=True, text=True, check=False)
            if ran.returncode:
                raise RabbitMQMissingError(f"`apt-get {' '.join(step)}` failed:\n{ran.stderr}\n{_advice()}")
    if shutil.which("systemctl"):  # nor at the next boot
        subprocess.run(["systemctl", "--quiet", "disable", "rabbitmq-server"], capture_output=True, check=False)


def _is_allowed() -> bool:
    if not sys.stdin.isatty():
        return True
    answer = input("RabbitMQ is not installed. Install Debian's package rabbitmq-server now? [Y/n] ")
    return answer.strip().lower() in {"", "y", "yes"}


def _advice() -> str:
    return (
        "RabbitMQ was not found. Install it (Debian, Ubuntu: `sudo apt-get install rabbitmq-server`; "
        "macOS: `brew install rabbitmq`), or set LISTFLEET_AMQP_URL=amqp://user:password@host:5672/ "
        "to a broker that is already running."
    )


@contextmanager
def _no_service_is_started() -> Iterator[None]:
    """Debian's packages start their service at once; ours is a private node, so they shall not."""
    before = _POLICY.read_bytes() if _POLICY.exists() else None
    if before is None:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            _POLICY.unlink()
