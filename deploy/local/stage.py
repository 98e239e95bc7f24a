"""The demo's cluster: everything started in order, ready, and ended in order."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from deploy.local.api import Api
from deploy.local.child import Child, StartFailedError
from deploy.local.cluster import PROJECT, Cluster, Service
from deploy.local.parts import Parts, running_parts
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.progress import Inbox

NODES = 2
#: Rows, queues, logs and secrets of the demo; `make clean` removes it.
FOLDER = PROJECT / ".local"


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, and where."""

    cluster: Cluster
    api: Api
    inbox: Inbox
    api_address: str
    smtp_port: int
    token: str
    node_names: dict[str, str]
    """The node's name by the name it gives in EHLO."""

    def sender(self, node_name: str) -> Service:
        """The process that is this node."""
        client = next(client for client, name in self.node_names.items() if name == node_name)
        return self.cluster.service(client.partition(".")[0])


@contextmanager
def running_stage() -> Iterator[Stage]:
    """Raises StartFailedError and RabbitMQMissingError; whatever was started is ended."""
    began_seconds = time.monotonic()
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(_only_one())
        tell("Starting PostgreSQL and RabbitMQ ...")
        parts = stack.enter_context(running_parts(FOLDER))
        relay_port, inbox_port, tracking_port = free_port(1025), free_port(8025), free_port(8081)
        cluster = Cluster(FOLDER / "logs", _settings(parts, relay_port, tracking_port))
        inbox_process = _start_inbox(relay_port, inbox_port)
        stack.callback(inbox_process.stop)
        stack.callback(cluster.stop)
        inbox = Inbox(f"http://{LOOPBACK}:{inbox_port}")
        cluster.migrate()
        parts.wait_for_broker()
        tell("Starting the services ...")
        smtp_port, api_port = free_port(2525), free_port(8080)
        cluster.start_service("admin_api", admin_port=str(api_port), admin_token=_kept_secret("token"))
        cluster.start_service("ingress_smtp", smtp_port=str(smtp_port), hostname="demo.listfleet.test")
        cluster.start_service("scheduler")
        cluster.start_service("tracking_api", tracking_port=str(tracking_port))
        clients = [_start_node(cluster, number) for number in range(1, NODES + 1)]
        cluster.wait_until_ready()
        inbox_process.wait_until(inbox.is_ready, 30)
        api_address = f"http://{LOOPBACK}:{api_port}"
        api = Api(api_address, _kept_secret("token"))
        tell(f"Ready after {time.monotonic() - began_seconds:.1f} s.")
        names = dict(zip(clients, _newest_nodes(api), strict=True))
        stack.callback(_ignore_interrupts)  # the first thing on the way out
        yield Stage(cluster, api, inbox, api_address, smtp_port, _kept_secret("token"), names)


def tell(text: str) -> None:
    print(text, flush=True)


def _ignore_interrupts() -> None:
    """Ctrl-C pressed twice must not leave processes behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _start_node(cluster: Cluster, number: int) -> str:
    """The name it gives in EHLO. It chooses its node name itself: the lowest that is free, so one after another."""
    client = f"sender-{number}.demo.listfleet.test"
    cluster.start_service("outbound_sender", f"sender-{number}", hostname=client).wait_until_ready()
    return client


def _newest_nodes(api: Api) -> list[str]:
    live = [node for node in api.nodes() if node["kind"] == "outbound" and node["state"] != "left"]
    return [node["name"] for node in sorted(live, key=lambda node: str(node["started_at"]))][-NODES:]


def _start_inbox(smtp_port: int, http_port: int) -> Child:
    environment = os.environ | {
        "LISTFLEET_INBOX_SMTP_PORT": str(smtp_port),
        "LISTFLEET_INBOX_HTTP_PORT": str(http_port),
    }
    command = [sys.executable, "-m", "deploy.local.inbox"]
    inbox = Child("The demo inbox", command, FOLDER / "logs" / "inbox.log", environment=environment, folder=PROJECT)
    inbox.start()
    return inbox


def _settings(parts: Parts, relay_port: int, tracking_port: int) -> dict[str, str]:
    return {
        "LISTFLEET_DATABASE_URL": parts.database_url,
        "LISTFLEET_AMQP_URL": parts.amqp_url,
        "LISTFLEET_SECRET": _kept_secret("secret"),
        "LISTFLEET_PUBLIC_URL": f"http://{LOOPBACK}:{tracking_port}",
        "LISTFLEET_RELAY": f"{LOOPBACK}:{relay_port}",
        "LISTFLEET_STOP_GRACE_SECONDS": "10",
    }


def _kept_secret(name: str) -> str:
    """Made once; what the database holds depends on it."""
    file = FOLDER / "secrets" / name
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24))
    return file.read_text()


@contextmanager
def _only_one() -> Iterator[None]:
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartFailedError(f"A demo is running here already (it holds {lock.name}).") from None
        yield
