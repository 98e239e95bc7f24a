"""What one outbound node may do: what an administrator set for it, over the cluster's defaults, over what is built in.

A setting that is absent is inherited, one that is `None` is unlimited. No setting can name the node that shall send a
message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MAX_CONNECTIONS = 10_000
MAX_MESSAGES_PER_SECOND = 1_000_000.0
#: One message in some quarter of an hour: slower than that is a node that should be switched off.
MIN_MESSAGES_PER_SECOND = 0.001
MAX_PREFETCH_BATCHES = 1_000


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """The limits in force on one node; `None` is unlimited."""

    #: Off: the node takes nothing more, and finishes what it started.
    sending_enabled: bool = True
    #: SMTP connections that are open at once, to all hosts together.
    max_connections: int | None = 20
    max_messages_per_second: float | None = None
    #: Batches that RabbitMQ may hand to the node before the first is finished.
    prefetch_batches: int = 4


#: The names of all settings.
SETTINGS = tuple(field.name for field in fields(NodeLimits))


def refusal_of(name: str, value: object) -> str | None:
    """One sentence that says why the setting `name` cannot have this value; `None` when it can."""
    if name == "sending_enabled":
        return None if isinstance(value, bool) else "This is true or false."
    if name == "max_messages_per_second":
        return _refusal_of_number(value, MIN_MESSAGES_PER_SECOND, MAX_MESSAGES_PER_SECOND, whole=False)
    if name == "max_connections":
        return _refusal_of_number(value, 1, MAX_CONNECTIONS)
    if name == "prefetch_batches":
        if value is None:
            return "This cannot be unlimited."
        return _refusal_of_number(value, 1, MAX_PREFETCH_BATCHES)
    return "There is no such setting."


def limits_from(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> NodeLimits:
    """The limits of a node by the defaults' settings and its own.

    A setting that this version does not know, or whose value it refuses, counts as absent: a node never stops for
    what a newer process wrote.
    """
    known = {
        name: value
        for settings in (defaults, own)
        for name, value in settings.items()
        if refusal_of(name, value) is None
    }
    return NodeLimits(**known)


def _refusal_of_number(value: object, at_least: float, at_most: float, *, whole: bool = True) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
        return f"This is a{' whole' if whole else ''} number, or null for unlimited."
    if value == 0:
        return "0 is no limit: to stop a node's sending, set sending_enabled to false."
    if not at_least <= value <= at_most:
        return f"This is from {at_least:,} to {at_most:,}."
    return None
