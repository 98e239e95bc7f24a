"""Settings of `tracking_api`."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field

from shared.runtime.settings import LinkSettings, ServiceSettings


class TrackingSettings(ServiceSettings, LinkSettings):
    """What a tracking node needs."""

    #: Where readers' requests are served.
    tracking_host: str = "127.0.0.1"
    tracking_port: int = Field(default=8081, ge=1, le=65535)
    #: Addresses and networks, separated by commas, whose `X-Forwarded-For` is believed: the balancers in front.
    trusted_proxies: str = ""

    @property
    def base(self) -> str:
        """The path that the public URL ends with; a balancer takes it away."""
        return urlsplit(self.public_url or "").path.rstrip("/")
