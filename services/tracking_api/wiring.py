"""A tracking node's object graph."""

from __future__ import annotations

from services.tracking_api.routes import application
from services.tracking_api.settings import TrackingSettings
from shared.runtime.http import HttpServer
from shared.runtime.lifecycle import Process


def build(settings: TrackingSettings) -> Process:
    """A tracking node, which for now needs neither database nor broker to answer."""
    server = HttpServer(application(), settings.tracking_host, settings.tracking_port)

    async def nothing() -> None:
        """The server finishes its requests when its loop ends."""

    return Process(
        start=nothing,
        loops=[server.run],
        drain=nothing,
        close=nothing,
        readiness=lambda: {"http": server.is_listening},
    )
