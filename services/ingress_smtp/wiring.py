"""How an ingress node is put together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from services.ingress_smtp import metrics
from services.ingress_smtp.admission import Admission
from services.ingress_smtp.announcing import BrokerAnnouncer
from services.ingress_smtp.authorship import LOOKUP_SECONDS, Authorship
from services.ingress_smtp.connection import ConnectionTerms
from services.ingress_smtp.intake import Intake
from services.ingress_smtp.limits import MIN_DATA_BYTES, DataBudget
from services.ingress_smtp.node import IngressNode
from services.ingress_smtp.open_files import sessions_by_open_files
from services.ingress_smtp.server import SmtpServer
from services.ingress_smtp.session import SessionTerms
from services.ingress_smtp.settings import IngressSettings
from services.ingress_smtp.shelf import Shelf
from shared.broker.consumer import ControlListener
from shared.broker.publisher import Publisher
from shared.core.node import NodeKind
from shared.dns.resolver import Resolver
from shared.runtime.lease import LeaseKeeper
from shared.runtime.lifecycle import Ending, Process
from shared.store import nodes
from shared.store.engine import Database, StoreUnavailable

_log = structlog.get_logger(__name__)

#: How long a start waits for lease and settings; then it listens. Without a database it answers 451.
REGISTER_WITHIN_SECONDS = 2.0


def build(settings: IngressSettings) -> Process:
    """The process, connected to nothing yet."""
    name = settings.node_name or "ingress"
    database = Database(settings.database_url, name=name)
    lease_database = Database(settings.database_url, name=f"{name} lease", pool_size=1)
    publisher = Publisher(settings.amqp_url, name=name)
    shelf = Shelf(database)
    announcer = BrokerAnnouncer(publisher)
    resolver = Resolver(settings.nameserver, lifetime_seconds=LOOKUP_SECONDS)
    intake = Intake(
        shelf,
        announcer,
        Authorship(resolver, is_trusted_peer=settings.is_trusted_peer, now=lambda: datetime.now(UTC)),
        hostname=settings.hostname,
        max_message_bytes=settings.max_message_bytes,
        now=lambda: datetime.now(UTC),
    )
    admission = Admission(sessions_by_open_files())
    terms = SessionTerms(
        connection=ConnectionTerms(
            hostname=settings.hostname, tls=settings.tls_context(), is_trusted_proxy=settings.is_trusted_proxy
        ),
        intake=intake,
        directory=shelf,
        budget=DataBudget(max(MIN_DATA_BYTES, 2 * settings.max_message_bytes)),
        admission=admission,
        secret=settings.secret.encode(),
        max_message_bytes=settings.max_message_bytes,
        max_recipients=settings.max_recipients,
    )
    server = SmtpServer(terms, settings.smtp_host, settings.smtp_port)
    node = IngressNode(admission, server)
    keeper = LeaseKeeper(
        lease_database,
        NodeKind.INGRESS,
        settings.node_name,
        lease_seconds=settings.lease_seconds,
        vitals=node.vitals,
        on_configuration=node.on_configuration,
        on_lost=lambda: None,  # No other node can take over a session.
        works_without_lease=True,
    )
    node.keeper = keeper
    control = ControlListener(settings.amqp_url, node.on_control, name=name)
    metrics.observe(lambda: server.session_count, lambda: terms.budget.held_bytes)

    async def register() -> None:
        await keeper.acquire()
        async with lease_database.raw() as connection:
            node.on_configuration(await nodes.configuration_for(connection, NodeKind.INGRESS, keeper.name))

    async def start() -> None:
        try:
            async with asyncio.timeout(REGISTER_WITHIN_SECONDS):
                await register()
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("not registered yet", error=repr(error))
        try:
            await server.start()
        except OSError as error:
            raise Ending(f"cannot listen on {settings.smtp_host}:{settings.smtp_port}: {error}") from error

    async def close() -> None:
        server.abort()
        await keeper.leave()
        await intake.finish()
        await announcer.finish()
        await publisher.close()
        await database.close()
        await lease_database.close()

    def readiness() -> Mapping[str, bool]:
        return {"smtp": server.is_listening, "database": shelf.is_there, "accepting": node.is_accepting()}

    return Process(
        start=start,
        loops=[keeper.run, shelf.watch, node.measure, control.run],
        drain=server.stop,
        close=close,
        readiness=readiness,
    )
