"""The cluster of tests and faults: real processes, a real database and broker, the counting sink as the next hop."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import TypeVar

from deploy.local.api import Api, post
from deploy.local.cluster import Cluster, Service
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from deploy.local.sink import NODE_DOMAIN, Sink

AUTHOR = "author@authors.test"
#: Who gets the mail to postmaster and abuse.
OPERATOR = "operator@company.test"

T = TypeVar("T")


class LiveCluster:
    """What is started, broken and looked at.

    cluster.start(outbound=4); cluster.create_list("news", members=1000); cluster.post("news", "Hello");
    cluster.sink.wait_for_recipients(1000, 60); cluster.node("outbound-1").kill()
    """

    def __init__(
        self, logs: Path, database_url: str, broker_url: str, database: Postgres, broker: RabbitMQ, sink: Sink
    ) -> None:
        self.database = database
        self.broker = broker
        self.sink = sink
        #: Where lists and members of the test are.
        self.domain = "lists.test"
        self.members_domain = "members.test"
        self.database_url = database_url
        self.broker_url = broker_url
        self.smtp_port = free_port()
        self.admin_port = free_port()
        self.tracking_port = free_port()
        self.token = secrets.token_urlsafe(24)
        self.api = Api(f"http://{LOOPBACK}:{self.admin_port}", self.token)
        self.processes = Cluster(
            logs,
            {
                "LISTFLEET_DATABASE_URL": database_url,
                "LISTFLEET_AMQP_URL": broker_url,
                "LISTFLEET_SECRET": secrets.token_urlsafe(24),
                "LISTFLEET_RELAY": sink.address,
                "LISTFLEET_OPERATOR_ADDRESS": OPERATOR,
                "LISTFLEET_TRACKING_JOURNAL": str(logs / "tracking-journal"),
            },
        )

    def start(self, *, outbound: int = 1, schedulers: int = 1, **settings: str) -> None:
        """One of each service and so many nodes, all ready; `settings` are those of the outbound nodes."""
        self.start_admin()
        self.start_ingress()
        for _ in range(schedulers):
            self.start_scheduler()
        self.start_outbound(outbound, **settings)
        self.processes.wait_until_ready()

    def start_admin(self, **settings: str) -> Service:
        own = {"admin_port": str(self.admin_port), "admin_token": self.token}
        return self.processes.start_service("admin_api", **own | settings)

    def start_ingress(self, **settings: str) -> Service:
        own = {"smtp_port": str(self.smtp_port), "hostname": "ingress.test"}
        return self.processes.start_service("ingress_smtp", **own | settings)

    def start_tracking(self, **settings: str) -> Service:
        return self.processes.start_service("tracking_api", **{"tracking_port": str(self.tracking_port)} | settings)

    def start_scheduler(self, **settings: str) -> Service:
        return self.processes.start_service("scheduler", **settings)

    def start_outbound(self, count: int = 1, **settings: str) -> list[Service]:
        """So many more nodes, named outbound-1, outbound-2, ...; `wait_until_ready` of each is the caller's."""
        there = len(self.nodes)
        return [self._start_node(f"outbound-{there + number}", settings) for number in range(1, count + 1)]

    def _start_node(self, name: str, settings: dict[str, str]) -> Service:
        own = {"node_name": name, "hostname": name + NODE_DOMAIN}
        return self.processes.start_service("outbound_sender", name, **own | settings)

    @property
    def nodes(self) -> list[Service]:
        """The outbound nodes, dead ones too."""
        return self.processes.of_kind("outbound_sender")

    def node(self, name: str) -> Service:
        """A handle with `kill`, `terminate`, `freeze`, `thaw`, `wait`, `restart`, `pid`."""
        return self.processes.service(name)

    def create_list(self, name: str, *, members: int = 0, policy: str = "anyone", **fields: str | int) -> str:
        """A list of this many `member-N@members.test` (or another `members_domain`); its address."""
        address = f"{name}@{self.domain}"
        self.api.create_list(address, posting_policy=policy, **fields)
        if members:
            self.import_members(address, (f"member-{number}@{self.members_domain}" for number in range(1, members + 1)))
        return address

    def import_members(self, list_address: str, emails: Iterable[str]) -> None:
        def rows() -> Iterator[str]:
            yield "email"
            yield from emails

        report = self.api.import_members(list_address, rows())
        if report["rejected"]:
            raise ValueError(f"not all addresses are members now: {report}")

    def post(self, list_address: str, subject: str, body: str = "Hello.\n") -> str:
        """Posts a plain message by SMTP; the id in the 250."""
        message = EmailMessage()
        message["From"] = AUTHOR
        message["To"] = list_address
        message["Subject"] = subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain="authors.test")
        message.set_content(body)
        return self.post_bytes(list_address, message.as_bytes())

    def post_bytes(self, list_address: str, message: bytes, sender: str = AUTHOR) -> str:
        """Posts exactly these bytes; the id in the 250. Raises smtplib.SMTPException with the refusal."""
        return post(LOOPBACK, self.smtp_port, sender, list_address, message)

    def wait_until_finished(self, message_id: str, timeout_seconds: float = 60) -> int:
        """Returns when the message's mailing has ended for every recipient; the mailing's id."""

        def finished() -> int | None:
            mailing_id = self.api.mailing_id_of(message_id)
            is_finished = mailing_id is not None and self.api.mailing(mailing_id)["state"] == "finished"
            return mailing_id if is_finished else None

        return wait_until(finished, timeout_seconds)

    def hand_over(self, story: int) -> None:
        """Makes a running cluster ready for the next story: what it makes and what the sink counts is its own.

        What the story before left dead is started again, and the nodes inherit all settings again.
        """
        self.domain, self.members_domain = f"lists-{story}.test", f"members-{story}.test"
        self.sink.reset()
        self.start_servers()
        for service in self.processes.services:
            if service.exit_code is not None:
                service.start()
        self.processes.wait_until_ready()
        for node in self.nodes:
            self.api.inherit_node_settings(node.name)

    def start_servers(self) -> None:
        """Starts those again that a test left dead."""
        for server in (self.database, self.broker):
            if not server.is_running:
                server.start()

    def delete_all_queues(self) -> None:
        """Deletes every queue of the virtual host, with what is in it."""
        vhost = self.broker_url.rpartition("/")[2]
        delete = f'[rabbit_amqqueue:delete(Q, false, false, <<"test">>) || Q <- rabbit_amqqueue:list(<<"{vhost}">>)].'
        self.broker.run_rabbitmqctl("eval", delete)

    def stop(self) -> None:
        self.api.close()
        self.processes.stop()


def wait_until(look: Callable[[], T | None], timeout_seconds: float, *, every_seconds: float = 0.05) -> T:
    """The first true thing that `look` returns. Raises TimeoutError when there is none in time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {timeout_seconds} s")
        time.sleep(every_seconds)
