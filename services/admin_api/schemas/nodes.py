"""Nodes and their settings, as requests and answers say them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import ValidationInfo, field_validator

from services.admin_api.schemas.base import Answer, Body, Moment, may_be_absent, refuse
from shared.contracts.topology import Lane
from shared.core.limits import Limit, refusal_of
from shared.core.node import LeftBecause, NodeKind


class NodeSettings(Body):
    """Settings of outbound nodes. What is absent is inherited, null is unlimited; 0 is no limit and is refused."""

    sending_enabled: bool = may_be_absent()
    """Whether the node takes recipients; switched off, it finishes what it started. Cannot be null."""
    lanes: list[Lane] | None = may_be_absent()
    """The lanes that the node takes recipients of, at least one; null: all."""
    max_connections: int | None = may_be_absent()
    """SMTP connections open at once, to all hosts together: 1 to 10,000."""
    max_connections_per_host: int | None = may_be_absent()
    """SMTP connections open at once to one destination host, by its name and by its address: 1 to 10,000. A relay is
    one host. Mail to other hosts does not wait for a host that has as many."""
    max_messages_per_second: float | None = may_be_absent()
    """Messages started per second, evenly: 0.001 to 1,000,000. In no one-second window more than max(n + 1, 1.05 n)."""
    max_messages_per_hour: int | None = may_be_absent()
    """Messages started per hour, spread evenly over it: 1 to 1,000,000,000. In no window of an hour more than n + 1."""
    max_megabits_per_second: float | None = may_be_absent()
    """Content of messages (header and body as SMTP carries them, without commands, TLS and TCP) in 1,000,000 bits per
    second, all connections together: 0.01 to 1,000,000. In no one-second window more than 5 % above."""
    prefetch_batches: int = may_be_absent()
    """Batches handed to the node ahead, for each lane: 1 to 1,000. Cannot be null."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_allowed(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name and (sentence := refusal_of(info.field_name, value)):
            raise refuse(sentence)
        return value


class EffectiveSettings(Answer):
    """The limits in force; null is unlimited."""

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


class SettingsAnswer(Answer):
    """Settings of one name, or the defaults."""

    own: dict[str, bool | int | float | list[Lane] | None]
    """What was set here; what is absent is inherited, null is unlimited."""
    effective: EffectiveSettings
    """What follows from it, the defaults, and what is built in."""


class NodeStanding(StrEnum):
    """Whether the node is there."""

    #: Its lease is alive.
    LIVE = "live"
    #: Its lease is alive, and it takes nothing more until it is resumed.
    DRAINING = "draining"
    LEFT = "left"


class HeldBackAnswer(Answer):
    """A limit that a node waits for."""

    limit: Limit
    """The setting that holds it back."""
    since_at: Moment
    """Since when it has, without a second's pause."""
    recipients: int
    """Recipients in the node's hands that wait for it; with 0 the node takes nothing, since it may start nothing
    soon."""


class NodeAnswer(Answer):
    """A node of the cluster."""

    name: str
    """The name; settings belong to it, over restarts."""
    kind: NodeKind
    """The service it runs."""
    state: NodeStanding
    """Live; draining (it takes nothing more); or left."""
    started_at: Moment
    """When the process took the name."""
    renewed_at: Moment
    """The last sign of life."""
    left_at: Moment | None
    """When it left; null while it lives."""
    left_because: LeftBecause | None
    """Drained (it finished and said good-bye) or lost (no sign of life; its work was taken over)."""
    rate_per_second: float
    """Recipients per second it sends to now."""
    megabits_per_second: float
    """Content it sends now, in 1,000,000 bits per second."""
    capacity_per_second: float
    """Recipients per second it says it can start."""
    open_connections: int
    """SMTP connections it has open now."""
    unstarted: int
    """Recipients in its hands that it has not started."""
    held_back: list[HeldBackAnswer]
    """The limits that it waits for; empty when none holds it back."""
    settings: SettingsAnswer | None
    """Its settings; null for a node that does not send."""
