"""What a fault is done to: a whole cluster of real processes, its parts, its sink, and the mailings sent through it."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chaos.link import Link
from chaos.recording_sink import RecordingSink
from deploy.local.cluster import PROJECT, Service
from deploy.local.dns_server import dns_server_in_a_thread
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.rabbitmq_install import find_or_install_server

#: Logs and records of the last run, a folder for each cluster.
LOGS = PROJECT / ".local" / "chaos"
LIST = "chaos"
SCHEDULERS = 2
#: Work in rows is published (again) after so long: 5 s and 30 s otherwise.
_PUBLISH_WITHIN_SECONDS, _REPUBLISH_AFTER_SECONDS = "1", "5"
#: The processes that a cut may hit; each reaches its servers by links of its own.
LINKED = ("outbound-2", "scheduler-2")


@dataclass(frozen=True, slots=True)
class Shape:
    """The cluster of a fault, and the mailing of each seed."""

    senders: int = 4
    recipients: int = 2000
    #: What every node may do (`/api/v1/node-defaults`).
    limits: Mapping[str, object] = field(default_factory=lambda: {"max_connections": 8})
    #: How long the sink holds back each reply; a message waits for two.
    latency_seconds: float = 0.03
    #: A mailing that is not finished by then has failed.
    mailing_seconds: float = 120
    #: 15 s otherwise; shorter, so that a seed takes seconds.
    lease_seconds: float = 5
    #: Settings of senders and schedulers.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: The address of each recipient domain's mail server, when delivery is by DNS: the sink listens at those in
    #: 127.0.1.0/24. Otherwise all mail goes to the sink.
    mail_servers: Mapping[str, str] = field(default_factory=dict)
    #: Parameters of RabbitMQ's Erlang application.
    broker_parameters: Mapping[str, int] = field(default_factory=dict)
    #: Whether the processes named in `LINKED` reach broker and database through links.
    has_links: bool = False


@dataclass(frozen=True, slots=True)
class Ways:
    """One process's ways to its servers."""

    database: Link
    broker: Link


@dataclass(frozen=True, slots=True)
class Mailing:
    """One post, and who must get it."""

    subject: str
    members: frozenset[str]
    message_id: str


class Rig:
    """A running cluster with a list of `shape.recipients` members."""

    def __init__(self, shape: Shape, cluster: LiveCluster, sink: RecordingSink, ways: Mapping[str, Ways]) -> None:
        """`ways` by the process's name."""
        self.shape = shape
        self.cluster = cluster
        self.sink = sink
        self.ways = ways
        #: All mailings of this rig, the latest last.
        self.mailings: list[Mailing] = []
        self.lists: dict[str, frozenset[str]] = {}

    # What a fault does

    def create_list(self, name: str, members: frozenset[str]) -> str:
        """The address of a new list with these members."""
        address = self.cluster.create_list(name)
        self.cluster.import_members(address, sorted(members))
        self.lists[address] = members
        return address

    def post(self, list_address: str | None = None) -> Mailing:
        """Posts to the list, or to the one that every rig has, with a subject of its own."""
        address = list_address or next(iter(self.lists))
        subject = f"Mailing {len(self.mailings) + 1}"
        mailing = Mailing(subject, self.lists[address], self.cluster.post(address, subject))
        self.mailings.append(mailing)
        return mailing

    def post_and_wait(self, chance: Random) -> Mailing:
        """A mailing that is somewhere in its middle when this returns."""
        mailing = self.post()
        self.wait_for_share(mailing, chance.uniform(0.1, 0.6))
        return mailing

    def wait_for_share(self, mailing: Mailing, share: float) -> None:
        """Returns when so many of its recipients have a copy."""
        reached = self.sink.reached[mailing.subject]
        wait_until(lambda: len(reached) >= share * len(mailing.members), self.shape.mailing_seconds, every_seconds=0.01)

    def connections_of(self, *services: Service) -> int:
        """Their connections that are open at the sink now."""
        return sum(self.sink.open_connections_of(service.name) for service in services)

    def wait_until_finished(self, mailing: Mailing) -> int:
        """The mailing's id. Raises TimeoutError."""
        return self.cluster.wait_until_finished(mailing.message_id, self.shape.mailing_seconds)

    def cancel(self, mailing: Mailing) -> None:
        """Ends what of the mailing is not delivered."""
        mailing_id = self.cluster.api.mailing_id_of(mailing.message_id)
        self.cluster.api.request("POST", f"/mailings/{mailing_id}/cancel").raise_for_status()

    def crashed(self) -> list[Service]:
        """Who ended without having been killed or asked to."""
        return [s for s in self.cluster.processes.services if s.exit_code not in (None, 0, -signal.SIGKILL)]

    def revive(self) -> None:
        """Whoever is dead, frozen or cut off runs again, and all are ready."""
        for way in self.ways.values():
            way.database.mend()
            way.broker.mend()
        self.cluster.start_servers()
        for service in self.cluster.processes.services:
            service.thaw()
            if not service.is_running:
                service.start()
        self.cluster.processes.wait_until_ready()


@dataclass(frozen=True, slots=True)
class Servers:
    """The two that every process needs, and what is the cluster's own on them."""

    database: Postgres
    broker: RabbitMQ
    database_url: str
    broker_url: str


@contextmanager
def running_servers(shape: Shape) -> Iterator[Servers]:
    """Servers of a fault's own; the broker may still be starting. Raises StartFailedError, RabbitMQMissingError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="listfleet-chaos-")))
        folder.chmod(0o711)  # PostgreSQL runs as a user of its own
        broker = RabbitMQ(folder / "rabbitmq", find_or_install_server(), parameters=shape.broker_parameters)
        stack.callback(broker.stop)
        broker.launch()
        database = Postgres(folder / "postgres")
        stack.callback(database.stop)
        database.start()
        yield Servers(database, broker, database.url, broker.url)


@contextmanager
def running_rig(servers: Servers, shape: Shape, name: str) -> Iterator[Rig]:
    """Everything else; it is ended, the servers run on. Raises StartFailedError."""
    logs = LOGS / name
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    database, broker = servers.database, servers.broker
    with ExitStack() as stack:
        sink = RecordingSink(logs / "sink.record", latency_seconds=shape.latency_seconds)
        sink.start()
        stack.callback(sink.stop)
        linked = LINKED if shape.has_links else ()
        ways = {name: Ways(Link(database.port), Link(broker.port)) for name in linked}
        for link in (link for way in ways.values() for link in (way.database, way.broker)):
            link.start()
            stack.callback(link.stop)
        cluster = LiveCluster(logs, servers.database_url, servers.broker_url, database, broker, sink)
        stack.callback(cluster.stop)
        cluster.processes.migrate()
        rig = Rig(shape, cluster, sink, ways)
        _start(rig, {**shape.settings, **stack.enter_context(_delivery(shape, sink))})
        yield rig


@contextmanager
def _delivery(shape: Shape, sink: RecordingSink) -> Iterator[Mapping[str, str]]:
    """The settings of senders that say where mail goes."""
    if not shape.mail_servers:
        yield {}
        return
    for address in shape.mail_servers.values():
        if address.startswith("127.0.1."):
            sink.listen_at(address)
    records = {(domain, "A"): [address] for domain, address in shape.mail_servers.items()}
    with dns_server_in_a_thread(records) as dns:
        yield {
            "delivery": "mx",
            "dns_resolver": f"{LOOPBACK}:{dns.port}",
            "remote_smtp_port": str(sink.port),
            "allow_private_hosts": "true",
        }


def _start(rig: Rig, settings: Mapping[str, str]) -> None:
    cluster, shape = rig.cluster, rig.shape
    cluster.start_admin()
    cluster.start_ingress()
    settings = {"lease_seconds": str(shape.lease_seconds), **settings}
    for number in range(1, SCHEDULERS + 1):
        name = f"scheduler-{number}"
        cluster.start_scheduler(
            node_name=name,
            publish_within_seconds=_PUBLISH_WITHIN_SECONDS,
            republish_after_seconds=_REPUBLISH_AFTER_SECONDS,
            **settings,
            **_way(rig, name),
        )
    for number in range(1, shape.senders + 1):
        cluster.start_outbound(1, **settings, **_way(rig, f"outbound-{number}"))
    cluster.processes.service("admin_api-1").wait_until_ready()
    cluster.api.set_node_defaults(**shape.limits)
    rig.create_list(LIST, frozenset(f"member-{number}@members.test" for number in range(shape.recipients)))
    cluster.broker.wait_until_ready()
    rig.revive()


def _way(rig: Rig, name: str) -> dict[str, str]:
    """The settings of a process that reaches its servers through the links."""
    ways = rig.ways.get(name)
    if ways is None:
        return {}
    return {
        "database_url": _through(rig.cluster.database_url, ways.database),
        "amqp_url": _through(rig.cluster.broker_url, ways.broker),
    }


def _through(url: str, link: Link) -> str:
    before, _, after = url.partition(f"@{LOOPBACK}:")
    return f"{before}@{LOOPBACK}:{link.port}/{after.partition('/')[2]}"
