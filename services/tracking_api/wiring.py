"""A tracking node's object graph."""

from __future__ import annotations

from services.tracking_api.desk import Desk
from services.tracking_api.routes import application
from services.tracking_api.settings import TrackingSettings
from shared.broker.publisher import Publisher
from shared.runtime.http import HttpServer
from shared.runtime.lifecycle import Process
from shared.runtime.subscriptions import Subscriptions
from shared.store.engine import Database


def build(settings: TrackingSettings) -> Process:
    """A tracking node, which is ready also while database or broker is down: it goes on with what it can."""
    database = Database(settings.database_url, name="tracking", pool_size=4)
    publisher = Publisher(settings.amqp_url, name="tracking")
    links = settings.links
    desk = Desk(database, publisher, Subscriptions(links), links.tokens)
    server = HttpServer(
        application(desk, settings.base),
        settings.tracking_host,
        settings.tracking_port,
        trusted_proxies=settings.trusted_proxies,
    )

    async def nothing() -> None:
        """The server finishes its requests when its loop ends."""

    async def close() -> None:
        await publisher.close()
        await database.close()

    return Process(
        start=nothing,
        loops=[server.run],
        drain=nothing,
        close=close,
        readiness=lambda: {"http": server.is_listening},
    )
