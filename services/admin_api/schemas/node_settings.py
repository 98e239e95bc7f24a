"""Settings of nodes, as requests and answers say them."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationInfo, field_validator

from shared.contracts.bodies import Answer, Body, may_be_absent, refuse
from shared.contracts.topology import Lane
from shared.core.ingress_limits import INGRESS_SETTINGS
from shared.core.limits import SETTINGS, refusal_of
from shared.core.node import NodeKind

#: The names of a kind's settings. Schedulers have none.
SETTINGS_OF = {NodeKind.OUTBOUND: SETTINGS, NodeKind.INGRESS: INGRESS_SETTINGS}


class NodeSettings(Body):
    """Settings of a node. Which kinds of node have a setting is said at each; one of another kind is refused.

    What is absent is inherited, null is unlimited; 0 is no limit and is refused.
    """

    sending_enabled: bool = may_be_absent()
    """Outbound: whether the node takes recipients; switched off, it finishes what it started. Cannot be null."""
    lanes: list[Lane] | None = may_be_absent()
    """Outbound: the lanes that the node takes recipients of, at least one; null: all."""
    accepting_enabled: bool = may_be_absent()
    """Ingress: whether the node takes mail; switched off, it answers 421 4.3.2 to whoever connects, and ends its
    sessions after the messages whose content is on its way. Cannot be null."""
    max_connections: int | None = may_be_absent()
    """Outbound: SMTP connections open at once, to all hosts together. Ingress: SMTP sessions at once; who connects
    above it is answered 421 4.3.2; null: as many as the process may open files for. 1 to 10,000."""
    max_connections_per_host: int | None = may_be_absent()
    """Outbound: SMTP connections open at once to one destination host, by its name and by its address: 1 to 10,000. A
    relay is one host. Mail to other hosts does not wait for a host that has as many."""
    max_connections_per_peer: int | None = may_be_absent()
    """Ingress: SMTP sessions at once of one client, which is an IPv4 address or a /64 of IPv6; who connects above it is
    answered 421 4.3.2: 1 to 10,000. A trusted proxy's connections count for the client that it names."""
    max_messages_per_second: float | None = may_be_absent()
    """Messages per second, evenly: 0.001 to 1,000,000. In no one-second window more than max(n + 1, 1.05 n). Outbound:
    messages started. Ingress: messages begun, by DATA; one that could not begin within 5 seconds is answered
    451 4.3.2, and while it would be more than 2, who connects is answered 421 4.3.2."""
    max_messages_per_hour: int | None = may_be_absent()
    """Outbound: messages started per hour, spread evenly over it: 1 to 1,000,000,000. In no window of an hour more than
    n + 1."""
    max_megabits_per_second: float | None = may_be_absent()
    """Outbound: content of messages (header and body as SMTP carries them, without commands, TLS and TCP) in 1,000,000
    bits per second, all connections together: 0.01 to 1,000,000. In no one-second window more than 5 % above."""
    prefetch_batches: int = may_be_absent()
    """Outbound: batches handed to the node ahead, for each lane: 1 to 1,000. Cannot be null."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_allowed(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name and (sentence := refusal_of(info.field_name, value)):
            raise refuse(sentence)
        return value


class OutboundSettings(Answer):
    """The limits in force on an outbound node; null is unlimited."""

    sending_enabled: bool
    """Whether the node takes recipients."""
    lanes: list[Lane] | None
    """The lanes that the node takes recipients of; null: all."""
    max_connections: int | None
    """SMTP connections open at once."""
    max_connections_per_host: int | None
    """SMTP connections open at once to one destination host."""
    max_messages_per_second: float | None
    """Messages started per second."""
    max_messages_per_hour: int | None
    """Messages started per hour."""
    max_megabits_per_second: float | None
    """Content of messages, in 1,000,000 bits per second."""
    prefetch_batches: int
    """Batches handed to the node ahead, for each lane."""


class IngressSettings(Answer):
    """The limits in force on an ingress node; null is unlimited."""

    accepting_enabled: bool
    """Whether the node takes mail."""
    max_connections: int | None
    """SMTP sessions at once; null: as many as the process may open files for."""
    max_connections_per_peer: int | None
    """SMTP sessions at once of one client: an IPv4 address, or a /64 of IPv6."""
    max_messages_per_second: float | None
    """Messages begun per second."""


class SettingsAnswer(Answer):
    """Settings of one name, or the defaults."""

    kind: NodeKind
    """The kind of node that they are for."""
    own: dict[str, bool | int | float | list[Lane] | None]
    """What was set here; what is absent is inherited, null is unlimited."""
    effective: OutboundSettings | IngressSettings
    """What follows from it, the defaults, and what is built in."""
