"""What one ingress node may take on: what an administrator set for it, over the cluster's defaults, over what is built
in. A setting that is absent is inherited, one that is `None` is unlimited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.core.limits import settings_in_force


class BusyBecause(StrEnum):
    """Why an ingress node takes no more, the first that applies; what is a setting has the setting's name."""

    #: An administrator drains it.
    DRAINING = "draining"
    #: It is switched off.
    ACCEPTING_ENABLED = "accepting_enabled"
    MAX_CONNECTIONS = "max_connections"
    #: The process may open no more files.
    OPEN_FILES = "open_files"
    #: A message that came now could not begin soon.
    MAX_MESSAGES_PER_SECOND = "max_messages_per_second"


@dataclass(frozen=True, slots=True)
class Busy:
    """Why an ingress node takes no more, and since when, without a second's pause."""

    because: BusyBecause
    since_at: datetime


@dataclass(frozen=True, slots=True)
class IngressLimits:
    """The limits in force on one ingress node; `None` is unlimited."""

    #: Off: the node takes nothing more, and finishes the messages whose content is on its way.
    accepting_enabled: bool = True
    #: SMTP sessions at a time. However many there may be, the files that the process may open are a limit too.
    max_connections: int | None = 4_000
    #: SMTP sessions at a time of one peer (`peer.py`).
    max_connections_per_peer: int | None = 50
    #: Messages whose content begins.
    max_messages_per_second: float | None = None


#: The names of all settings of ingress nodes.
INGRESS_SETTINGS = tuple(field.name for field in fields(IngressLimits))


def ingress_limits_from(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> IngressLimits:
    """The limits of an ingress node by the defaults' settings and its own; what is not understood counts as absent."""
    return IngressLimits(**settings_in_force(INGRESS_SETTINGS, defaults, own))
