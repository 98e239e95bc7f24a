"""A tracking node's object graph."""

from __future__ import annotations

from functools import partial

from services.tracking_api.desk import Desk
from services.tracking_api.front import Front
from services.tracking_api.journal import Journal
from services.tracking_api.recording import Recorder
from services.tracking_api.routes import application
from services.tracking_api.settings import TrackingSettings
from services.tracking_api.tracking import Tracking
from shared.broker.publisher import Publisher
from shared.runtime.http import HttpServer
from shared.runtime.lifecycle import Process
from shared.runtime.subscriptions import Subscriptions
from shared.store.engine import Database

#: Readers wait for the broker so long, once; then events go to the journal until it answers again.
EVENTS_TIMEOUT_SECONDS = 2.0


def build(settings: TrackingSettings) -> Process:
    """A tracking node, which is ready also while database or broker is down: it goes on with what it can."""
    database = Database(settings.database_url, name="tracking", pool_size=4)
    publisher = Publisher(settings.amqp_url, name="tracking")
    links = settings.links
    events = Publisher(settings.amqp_url, name="tracking events", timeout_seconds=EVENTS_TIMEOUT_SECONDS)
    journal = Journal(settings.tracking_journal, max_bytes=settings.tracking_journal_bytes)
    recorder = Recorder(events, journal)
    desk = Desk(database, publisher, Subscriptions(links), links.tokens)
    tracking = Tracking(settings.tracked_links, recorder) if settings.tracked_links is not None else None
    server = HttpServer(
        application(desk, settings.base, tracking=tracking),
        settings.tracking_host,
        settings.tracking_port,
        trusted_proxies=settings.trusted_proxies,
        front=partial(Front, tracking) if tracking is not None else None,
    )

    async def start() -> None:
        if tracking is not None:
            journal.open()

    async def nothing() -> None:
        """The server finishes its requests when its loop ends."""

    async def close() -> None:
        journal.close()
        await events.close()
        await publisher.close()
        await database.close()

    return Process(
        start=start,
        loops=[server.run, recorder.replay],
        drain=nothing,
        close=close,
        readiness=lambda: {"http": server.is_listening},
    )
