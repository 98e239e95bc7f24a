"""Settings of the outbound sender."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from shared.core.tls_policy import TlsPolicy
from shared.runtime.settings import LinkSettings, NodeSettings, ResolverSettings, host_name


class OutboundSettings(NodeSettings, LinkSettings, ResolverSettings):
    """`LISTFLEET_*` variables of `services.outbound_sender`."""

    #: `relay`: all mail goes to one host; `mx`: each domain's own mail exchangers are looked up.
    delivery: Literal["relay", "mx"] = "relay"
    #: `host:port` of the relay.
    relay: str | None = Field(default=None, pattern=r"^\S+:\d{1,5}$")
    #: What the relay knows us by (AUTH, RFC 4954); both or neither.
    relay_user: str | None = None
    relay_password: SecretStr | None = None
    #: `required`: nothing goes to the relay but encrypted, and its certificate must be valid for its name; that is so
    #: with a password, unless `opportunistic` is said: then the password, too, may go in the clear.
    relay_tls: TlsPolicy | None = None
    #: Addresses of this machine to connect from, comma-separated; without any, the system chooses.
    source_addresses: Annotated[tuple[str, ...], NoDecode] = ()
    #: The port of other people's mail servers. Only tests have another.
    remote_smtp_port: int = Field(default=25, ge=1, le=65535)
    #: Whether mail exchangers on loopback and private addresses are talked to. For tests and closed networks.
    allow_private_hosts: bool = False
    #: How the node names itself in EHLO: a name that resolves to its address.
    hostname: str = Field(default_factory=host_name, min_length=1, max_length=255)
    #: How long a connection is kept when there is nothing to send on it.
    connection_idle_seconds: float = Field(default=5.0, gt=0)
    #: After so many recipients a connection is closed, and a new one opened.
    messages_per_connection: int = Field(default=1000, ge=1)
    #: How long a TCP connection may take.
    connect_timeout_seconds: float = Field(default=30.0, gt=0)
    #: How long the greeting and each reply to a command may take (RFC 5321 §4.5.3.2: 5 minutes).
    command_timeout_seconds: float = Field(default=300.0, gt=0)
    #: How long the reply to the final dot may take (RFC 5321 §4.5.3.2.6: 10 minutes). Shorter makes second copies.
    final_dot_timeout_seconds: float = Field(default=600.0, gt=0)

    @field_validator("hostname")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not name.isascii() or not name.isprintable() or " " in name:
            raise ValueError("a host name has no spaces and no characters beyond ASCII")
        return name

    @field_validator("source_addresses", mode="before")
    @classmethod
    def _are_addresses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(str(ip_address(address.strip())) for address in value.split(","))

    @property
    def relay_policy(self) -> TlsPolicy:
        """What is demanded of the relay."""
        by_itself = TlsPolicy.OPPORTUNISTIC if self.relay_password is None else TlsPolicy.REQUIRED
        return self.relay_tls or by_itself

    @model_validator(mode="after")
    def _has_a_way_out(self) -> Self:
        if self.delivery == "relay" and self.relay is None:
            raise ValueError("set LISTFLEET_RELAY to host:port, or LISTFLEET_DELIVERY to mx")
        if (self.relay_user is None) is not (self.relay_password is None):
            raise ValueError("set both LISTFLEET_RELAY_USER and LISTFLEET_RELAY_PASSWORD, or neither")
        return self
