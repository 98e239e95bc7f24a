"""Nodes, as answers say them."""

from __future__ import annotations

from enum import StrEnum

from services.admin_api.schemas.node_settings import SettingsAnswer
from shared.contracts.bodies import Answer, Moment
from shared.core.ingress_limits import BusyBecause
from shared.core.limits import Limit
from shared.core.node import LeftBecause, NodeKind


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


class BusyAnswer(Answer):
    """Why an ingress node takes no more: it answers 421 4.3.2 to whoever connects, and its `/readyz` fails."""

    because: BusyBecause
    """The first that applies: `draining`; the setting that is at its limit or switched off; or `open_files`, when the
    process may open no more."""
    since_at: Moment
    """Since when it has been busy, without a second's pause."""


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
    """Outbound: recipients per second it sends to now. Ingress: messages per second it accepts now, answered 250."""
    megabits_per_second: float
    """Content it sends now, in 1,000,000 bits per second."""
    capacity_per_second: float
    """Recipients per second it says it can start."""
    open_connections: int
    """SMTP connections open now. Outbound: to other hosts. Ingress: its sessions."""
    unstarted: int
    """Recipients in its hands that it has not started."""
    held_back: list[HeldBackAnswer]
    """The limits that an outbound node waits for; empty when none holds it back."""
    busy: BusyAnswer | None
    """Why an ingress node takes no more; null while it takes mail."""
    settings: SettingsAnswer | None
    """Its settings; null for a scheduler, which has none."""
