"""The Received field that says how a message came to us (RFC 5321 §4.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from uuid import UUID

_NOT_A_HOST = re.compile(r"[^A-Za-z0-9.:_\[\]-]")


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end of a session."""

    #: The network address, without port.
    address: str
    #: What it called itself in EHLO or HELO.
    greeting: str
    #: RFC 3848, RFC 6531 §4.3: SMTP, ESMTP, ESMTPS, UTF8SMTP, UTF8SMTPS.
    protocol: str


def received_field(client: Client, hostname: str, message_id: UUID, received_at: datetime) -> bytes:
    """The field with its line ends. The client's words are reduced to what a host's name is made of."""
    greeting = _NOT_A_HOST.sub("?", client.greeting)[:255] or "unknown"
    literal = f"IPv6:{client.address}" if ":" in client.address else client.address
    return (
        f"Received: from {greeting} ([{literal}])\r\n"
        f"\tby {hostname} with {client.protocol} id {message_id.hex};\r\n"
        f"\t{format_datetime(received_at)}\r\n"
    ).encode("ascii", "replace")
