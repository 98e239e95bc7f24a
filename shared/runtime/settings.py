"""Settings that every service has, and how settings are read.

A setting comes from the environment variable `LISTFLEET_` + its name in upper case. What it means stands at its
declaration, in the `settings` of the service it belongs to.
"""

from __future__ import annotations

import socket
import sys
from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.core.links import Links
from shared.core.tokens import Tokens

_PREFIX = "LISTFLEET_"

S = TypeVar("S", bound=BaseSettings)


class DatabaseSettings(BaseSettings):
    """What the migration step needs, and every service."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, frozen=True)

    #: `postgresql://user:password@host:port/database`
    database_url: str = Field(pattern=r"^postgres(ql)?://")


class ServiceSettings(DatabaseSettings):
    """What every service needs."""

    #: `amqp://user:password@host:port/vhost`
    amqp_url: str = Field(pattern=r"^amqps?://")
    #: Where `/healthz`, `/readyz` and `/metrics` are served.
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=9100, ge=1, le=65535)
    #: debug, info, warning or error.
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    #: How long a stop may take to finish what is in flight before it is cut off.
    stop_grace_seconds: float = Field(default=60.0, gt=0)


class NodeSettings(ServiceSettings):
    """What a service that works under a name and a lease needs."""

    #: The node's name; without one it gets the lowest free slot (`outbound-1`, `outbound-2`, …).
    node_name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    #: A lease that was not renewed for so long is dead, and its work taken over. The same on all nodes.
    lease_seconds: float = Field(default=15.0, gt=0)


class SecretSettings(BaseSettings):
    """What a service needs that makes or checks tokens."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, frozen=True)

    #: The key of all message authentication codes and of what is sealed in the database, at least 16 characters, the
    #: same on all nodes.
    secret: str = Field(min_length=16)


class LinkSettings(SecretSettings):
    """What a service needs that makes or reads links."""

    #: Former secrets, separated by commas: links that were made with them stay good.
    old_secrets: str = ""
    #: `https://lists.example.org`, where `tracking_api` is reached from outside; without it, mail has no links.
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#<>,]+(/[^\s?#<>,]*)?$")

    @property
    def links(self) -> Links:
        """Links and addresses with tokens."""
        older = [old.strip().encode() for old in self.old_secrets.split(",") if old.strip()]
        return Links(Tokens(self.secret.encode(), older), self.public_url.rstrip("/") if self.public_url else None)


class ResolverSettings(BaseSettings):
    """What a service needs that asks the DNS."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, frozen=True)

    #: `address:port` of the DNS server to ask; without it, the system's.
    dns_resolver: str | None = Field(default=None, pattern=r"^\S+:\d{1,5}$")

    @property
    def nameserver(self) -> tuple[str, int] | None:
        """The address and port that are set."""
        return host_and_port(self.dns_resolver) if self.dns_resolver else None


class SyncSettings(BaseSettings):
    """What a service needs that takes or asks for addresses of members' files."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, frozen=True)

    #: Hosts that members may be read from, comma-separated: `host` for its usual port, or `host:port`. None without it.
    sync_hosts: str = ""

    @property
    def sync_places(self) -> frozenset[str]:
        """The hosts that are set."""
        return frozenset(place.strip().lower() for place in self.sync_hosts.split(",") if place.strip())


def host_and_port(text: str) -> tuple[str, int]:
    """The two halves of `host:port`; an IPv6 address may stand in brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def load(settings: type[S]) -> S:
    """The settings; when one is missing or wrong, the process ends with a sentence that names the variable."""
    try:
        return settings()
    except ValidationError as error:
        for problem in error.errors():
            what = "is not set" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
            if problem["loc"]:
                is_wrong = "" if problem["type"] == "missing" else "is wrong: "
                what = f"{_PREFIX}{str(problem['loc'][0]).upper()} {is_wrong}{what}"
            sys.stderr.write(f"{what}.\n")
        raise SystemExit(2) from None


def host_name() -> str:
    """This machine's name as the network knows it."""
    return socket.getfqdn()
