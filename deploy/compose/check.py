"""`python3 -m deploy.compose.check`: four outbound containers on a clean clone deliver a post, each copy once.

Clones the project's last commit (with `--as-it-is`: copies the files as they are now) into a temporary folder, builds
and starts the cluster there without a `.env`, and goes through `one_post`; then again with two ingress, tracking and
scheduler containers. Ends with 0 when every member has exactly one copy of each post. Leaves no container and no volume
behind. Needs Docker, Compose (v2, or docker-compose 1.29), git, and Python's standard library; the four ports of
docker-compose.yml must be free.
"""

# ruff: noqa: S603, S607 - docker, compose and git, as they are on the path

from __future__ import annotations

import argparse
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.compose.one_post import CheckFailed, deliver, deliver_another, say

PROJECT = Path(__file__).resolve().parents[2]
NODES = 4


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m deploy.compose.check", description="Checks the container cluster."
    )
    parser.add_argument("--as-it-is", action="store_true", help="check the files as they are, not the last commit")
    as_it_is: bool = parser.parse_args().as_it_is
    # A stop must clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="listfleet-check-") as folder:
        clone = Path(folder) / "listfleet"
        (_copy if as_it_is else _clone)(clone)
        cluster = Cluster(clone)
        try:
            cluster.start()
            deliver(cluster.admin_token(), NODES)
            cluster.double()
            deliver_another()
        except (CheckFailed, subprocess.CalledProcessError) as failure:
            cluster.show_logs()
            say(f"FAILED: {failure}")
            return 1
        finally:
            cluster.remove()
    say("passed")
    return 0


class Cluster:
    """The containers of one clone, under a project name that nothing else has."""

    def __init__(self, clone: Path) -> None:
        self._clone = clone
        self._command = [*_compose_command(), "--project-name", f"listfleet-check-{secrets.token_hex(4)}"]
        # As on a machine where nobody has set anything.
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTFLEET_")}

    def start(self) -> None:
        """Builds the image and starts all containers; they need not be ready yet."""
        say("building the image")
        self._run("build")
        say(f"starting the cluster with {NODES} outbound nodes")
        self._run("up", "-d", "--scale", f"outbound={NODES}")

    def double(self) -> None:
        """Two of each service that a balancer or the broker spreads work over."""
        say("starting a second ingress, tracking and scheduler")
        services = {"outbound": NODES, "ingress": 2, "tracking": 2, "scheduler": 2}
        self._run("up", "-d", *[word for name, n in services.items() for word in ("--scale", f"{name}={n}")])

    def admin_token(self) -> str:
        """The token, from the log, where it stands once."""
        found: list[str] = re.findall(r"admin token.*: (\S+)", self._run("logs", "--no-color", "secrets"))
        if len(found) != 1:
            raise CheckFailed(f"the admin token is in the log {len(found)} times")
        return found[0]

    def show_logs(self) -> None:
        """What the containers said last, for whoever looks for the fault."""
        for arguments in (["ps"], ["logs", "--no-color", "--tail=30"]):
            subprocess.run([*self._command, *arguments], cwd=self._clone, env=self._environment, check=False)

    def remove(self) -> None:
        """Takes everything down, volumes included."""
        say("taking the cluster down")
        self._run("down", "--volumes", "--remove-orphans")

    def _run(self, *arguments: str) -> str:
        finished = subprocess.run(
            [*self._command, *arguments],
            cwd=self._clone,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if finished.returncode:
            sys.stderr.write(finished.stdout)
        finished.check_returncode()
        return finished.stdout


def _compose_command() -> list[str]:
    plugin = ["docker", "compose"]
    has_plugin = shutil.which("docker") and not subprocess.run([*plugin, "version"], capture_output=True).returncode
    return plugin if has_plugin else ["docker-compose"]


def _clone(folder: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)


def _copy(folder: Path) -> None:
    """What git would know if everything was added: no virtual environment, no `.env`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)


if __name__ == "__main__":
    sys.exit(main())
