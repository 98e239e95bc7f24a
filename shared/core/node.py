"""A machine of the cluster: what it may do and how it leaves."""

from __future__ import annotations

from enum import StrEnum


class NodeKind(StrEnum):
    """Which service the node runs."""

    OUTBOUND = "outbound"
    SCHEDULER = "scheduler"
    INGRESS = "ingress"


class NodeState(StrEnum):
    """Whether the node's lease is alive."""

    LIVE = "live"
    LEFT = "left"


class LeftBecause(StrEnum):
    """Why a node left."""

    #: It finished what it had and said good-bye.
    DRAINED = "drained"
    #: Its lease was not renewed for 15 seconds; its work was taken over.
    LOST = "lost"


class BatchState(StrEnum):
    """Where a batch stands. *Closed* and *revoked* are final: a batch id is never used twice.

    released → claimed (a node took it) → closed (outcomes or hand-back, none open)
    released → revoked (emptied, or its mailing stopped) · claimed → revoked (takeover)
    """

    RELEASED = "released"
    CLAIMED = "claimed"
    CLOSED = "closed"
    REVOKED = "revoked"
