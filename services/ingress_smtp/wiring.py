"""How an ingress node is put together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from services.ingress_smtp import metrics
from services.ingress_smtp.announcing import BrokerAnnouncer
from services.ingress_smtp.authorship import LOOKUP_SECONDS, Authorship
from services.ingress_smtp.connection import ConnectionTerms
from services.ingress_smtp.intake import Intake
from services.ingress_smtp.limits import MIN_DATA_BYTES, DataBudget
from services.ingress_smtp.server import SmtpServer
from services.ingress_smtp.session import SessionTerms
from services.ingress_smtp.settings import IngressSettings
from services.ingress_smtp.shelf import Shelf
from shared.broker.publisher import Publisher
from shared.dns.resolver import Resolver
from shared.runtime.lifecycle import Ending, Process
from shared.store.engine import Database


def build(settings: IngressSettings) -> Process:
    """The process, connected to nothing yet."""
    database = Database(settings.database_url, name="ingress")
    publisher = Publisher(settings.amqp_url, name="ingress")
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
    terms = SessionTerms(
        connection=ConnectionTerms(
            hostname=settings.hostname, tls=settings.tls_context(), is_trusted_proxy=settings.is_trusted_proxy
        ),
        intake=intake,
        directory=shelf,
        budget=DataBudget(max(MIN_DATA_BYTES, 2 * settings.max_message_bytes)),
        secret=settings.secret.encode(),
        max_message_bytes=settings.max_message_bytes,
        max_recipients=settings.max_recipients,
    )
    server = SmtpServer(terms, settings.smtp_host, settings.smtp_port)
    metrics.observe(lambda: server.session_count, lambda: terms.budget.held_bytes)

    async def start() -> None:
        try:
            await server.start()
        except OSError as error:
            raise Ending(f"cannot listen on {settings.smtp_host}:{settings.smtp_port}: {error}") from error

    async def close() -> None:
        server.abort()
        await intake.finish()
        await announcer.finish()
        await publisher.close()
        await database.close()

    def readiness() -> Mapping[str, bool]:
        return {"smtp": server.is_listening, "database": shelf.is_there}

    return Process(start=start, loops=[shelf.watch], drain=server.stop, close=close, readiness=readiness)
