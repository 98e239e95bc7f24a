"""Settings of the outbound sender."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.runtime.settings import NodeSettings, SecretSettings, host_name


class OutboundSettings(NodeSettings, SecretSettings):
    """`LISTFLEET_*` variables of `services.outbound_sender`."""

    #: `relay`: all mail goes to one host; `mx`: each domain's own mail exchangers are looked up.
    delivery: Literal["relay", "mx"] = "relay"
    #: `host:port` of the relay.
    relay: str | None = Field(default=None, pattern=r"^\S+:\d{1,5}$")
    #: `address:port` of the DNS server to ask; without it, the system's.
    dns_resolver: str | None = Field(default=None, pattern=r"^\S+:\d{1,5}$")
    #: The port of other people's mail servers. Only tests have another.
    remote_smtp_port: int = Field(default=25, ge=1, le=65535)
    #: Whether mail exchangers on loopback and private addresses are talked to. For tests and closed networks.
    allow_private_hosts: bool = False
    #: How the node names itself in EHLO: a name that resolves to its address.
    hostname: str = Field(default_factory=host_name, min_length=1, max_length=255)
    #: A delivery older than this is given up.
    give_up_after_seconds: float = Field(default=5 * 86_400.0, gt=0)

    @field_validator("hostname")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not name.isascii() or not name.isprintable() or " " in name:
            raise ValueError("a host name has no spaces and no characters beyond ASCII")
        return name

    @model_validator(mode="after")
    def _has_a_way_out(self) -> Self:
        if self.delivery == "relay" and self.relay is None:
            raise ValueError("set LISTFLEET_RELAY to host:port, or LISTFLEET_DELIVERY to mx")
        return self
