"""Settings of `tracking_api`."""

from __future__ import annotations

from pathlib import Path
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
    #: A folder for what readers did while the broker was away, and how much it may hold; beyond that the answer is 503.
    #: Several nodes may have the same folder, and one that is started again finds what it left there.
    tracking_journal: Path = Path("tracking-journal")
    tracking_journal_bytes: int = Field(default=256 * 1024 * 1024, ge=0)

    @property
    def base(self) -> str:
        """The path that the public URL ends with; a balancer takes it away."""
        return urlsplit(self.public_url or "").path.rstrip("/")
