"""Settings of `ingress_smtp`."""

from __future__ import annotations

import ssl
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from shared.runtime.settings import NodeSettings, ResolverSettings, SecretSettings, host_name


class IngressSettings(NodeSettings, SecretSettings, ResolverSettings):
    """What an ingress node needs."""

    #: Where SMTP is served.
    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(default=2525, ge=1, le=65535)
    #: The name in the greeting and in Received fields.
    hostname: str = Field(default_factory=host_name, pattern=r"^[A-Za-z0-9._-]{1,253}$")
    #: A larger message is refused, 552.
    max_message_bytes: int = Field(default=25 * 1024 * 1024, ge=64 * 1024)
    #: Recipients above it are refused for this message, 452; RFC 5321 §4.5.3.1.8 asks for 100.
    max_recipients: int = Field(default=100, ge=1)
    #: Paths of PEM files, both or neither; with them STARTTLS is offered.
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    #: Networks, separated by commas, whose connections begin with a header of the PROXY protocol, version 1 or 2.
    proxy_protocol_from: str = ""

    #: Networks, separated by commas, of peers who may send in anybody's name: hosts of one's own that know their users.
    #: From all others an author is believed when SPF or DKIM vouches for the domain (RFC 9989). `none` is nobody.
    trusted_networks: str = "127.0.0.0/8,::1/128"

    @field_validator("proxy_protocol_from", "trusted_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        _networks(value)
        return value

    @model_validator(mode="after")
    def _have_usable_certificate(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("LISTFLEET_TLS_CERTIFICATE and LISTFLEET_TLS_KEY are needed together")
        try:
            self.tls_context()
        except OSError as error:
            raise ValueError(f"LISTFLEET_TLS_CERTIFICATE or LISTFLEET_TLS_KEY cannot be used, {error}") from error
        return self

    def tls_context(self) -> ssl.SSLContext | None:
        """What STARTTLS needs; `None` when it is not offered."""
        if self.tls_certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.tls_certificate, self.tls_key)
        return context

    def is_trusted_proxy(self, address: str) -> bool:
        """Whether a connection from `address` begins with a PROXY header."""
        return _is_in(self.proxy_protocol_from, address)

    def is_trusted_peer(self, address: str) -> bool:
        """Whether whoever `address` says is the author is believed to be."""
        return _is_in(self.trusted_networks, address)


def _is_in(networks: str, address: str) -> bool:
    if not networks or not address:
        return False
    peer = ip_address(address)
    # An IPv4 client of a socket that listens on IPv6.
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in network for network in _networks(networks))


def _networks(value: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(part.strip()) for part in value.split(",") if part.strip() and value != "none"]
