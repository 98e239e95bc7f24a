"""Settings of `tracking_api`."""

from __future__ import annotations

from pydantic import Field

from shared.runtime.settings import ServiceSettings


class TrackingSettings(ServiceSettings):
    """What a tracking node needs."""

    #: Where readers' requests are served.
    tracking_host: str = "127.0.0.1"
    tracking_port: int = Field(default=8081, ge=1, le=65535)
