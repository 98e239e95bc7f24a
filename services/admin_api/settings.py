"""Settings of `admin_api`."""

from __future__ import annotations

from pydantic import Field

from shared.runtime.settings import LinkSettings, ResolverSettings, ServiceSettings, SyncSettings


class AdminSettings(ServiceSettings, LinkSettings, ResolverSettings, SyncSettings):
    """What the API needs."""

    #: Where the API and its documentation are served.
    admin_host: str = "127.0.0.1"
    admin_port: int = Field(default=8080, ge=1, le=65535)
    #: A bearer token, at least 16 characters, that the API takes from the start, in the place of the one that was set
    #: here before. Without it only tokens that are stored already are taken.
    admin_token: str | None = Field(default=None, min_length=16, pattern=r"^[\x21-\x7e]+$")
