"""What one outbound node may do: what an administrator set for it, over the cluster's defaults, over what is built in.

A setting that is absent is inherited, one that is `None` is unlimited. No setting can name the node that shall send a
message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

MAX_CONNECTIONS = 10_000
MAX_MESSAGES_PER_SECOND = 1_000_000.0
#: One message in some quarter of an hour: slower than that is a node that should be switched off.
MIN_MESSAGES_PER_SECOND = 0.001
MAX_MESSAGES_PER_HOUR = 1_000_000_000
MIN_MEGABITS_PER_SECOND = 0.01
MAX_MEGABITS_PER_SECOND = 1_000_000.0
MAX_PREFETCH_BATCHES = 1_000
#: The names of all lanes, the most urgent first.
LANES = ("express", "posts", "bulk")


class Limit(StrEnum):
    """What can hold back a node that has recipients to send to; the names are those of the settings."""

    MAX_CONNECTIONS = "max_connections"
    MAX_CONNECTIONS_PER_HOST = "max_connections_per_host"
    MAX_MESSAGES_PER_SECOND = "max_messages_per_second"
    MAX_MESSAGES_PER_HOUR = "max_messages_per_hour"
    MAX_MEGABITS_PER_SECOND = "max_megabits_per_second"


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A limit that a node waits for."""

    limit: Limit
    since_at: datetime
    #: Those in the node's hands that could start without it. With none, the node takes nothing: it may start nothing
    #: soon.
    recipients: int


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """The limits in force on one node; `None` is unlimited."""

    #: Off: the node takes nothing more, and finishes what it started.
    sending_enabled: bool = True
    #: The lanes that the node takes recipients of.
    lanes: tuple[str, ...] | None = None
    #: SMTP connections that are open at once, to all hosts together.
    max_connections: int | None = 20
    #: SMTP connections that are open at once to one destination host; a relay is one host.
    max_connections_per_host: int | None = None
    max_messages_per_second: float | None = None
    #: Spread over the hour.
    max_messages_per_hour: int | None = None
    #: Content of messages, in 1,000,000 bits.
    max_megabits_per_second: float | None = None
    #: Batches handed to the node ahead, for each lane: RabbitMQ hands out no more before the first is finished.
    prefetch_batches: int = 4

    def serves(self, lane: str) -> bool:
        """Whether the node takes recipients of the lane."""
        return self.lanes is None or lane in self.lanes

    @property
    def max_bytes_per_second(self) -> float | None:
        """The megabits a second, as bytes."""
        return None if self.max_megabits_per_second is None else self.max_megabits_per_second * 125_000


#: The names of all settings of outbound nodes.
SETTINGS = tuple(field.name for field in fields(NodeLimits))


#: Of the settings that are numbers, of any kind of node: at least, at most, and whether a whole number.
_RANGES = {
    "max_connections": (1, MAX_CONNECTIONS, True),
    "max_connections_per_host": (1, MAX_CONNECTIONS, True),
    "max_connections_per_peer": (1, MAX_CONNECTIONS, True),
    "max_messages_per_second": (MIN_MESSAGES_PER_SECOND, MAX_MESSAGES_PER_SECOND, False),
    "max_messages_per_hour": (1, MAX_MESSAGES_PER_HOUR, True),
    "max_megabits_per_second": (MIN_MEGABITS_PER_SECOND, MAX_MEGABITS_PER_SECOND, False),
    "prefetch_batches": (1, MAX_PREFETCH_BATCHES, True),
}


def refusal_of(name: str, value: object) -> str | None:
    """One sentence that says why the setting `name`, of any kind of node, cannot have this value; `None` if it can."""
    if name in ("sending_enabled", "accepting_enabled"):
        return None if isinstance(value, bool) else "This is true or false."
    if name == "lanes":
        return _refusal_of_lanes(value)
    if name == "prefetch_batches" and value is None:
        return "This cannot be unlimited."
    if name not in _RANGES:
        return "There is no such setting."
    return _refusal_of_number(value, *_RANGES[name])


def limits_from(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> NodeLimits:
    """The limits of an outbound node by the defaults' settings and its own; what is not understood counts as absent."""
    known = settings_in_force(SETTINGS, defaults, own)
    if known.get("lanes") is not None:
        known["lanes"] = tuple(lane for lane in LANES if lane in known["lanes"])
    return NodeLimits(**known)


def settings_in_force(names: Sequence[str], defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings `names` that were set, a node's own over the defaults.

    One whose value this version refuses counts as absent: a node never stops for what a newer process wrote.
    """
    return {
        name: value
        for settings in (defaults, own)
        for name, value in settings.items()
        if name in names and refusal_of(name, value) is None
    }


def _refusal_of_lanes(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or any(lane not in LANES for lane in value) or len(set(value)) < len(value):
        return f"This is a list of some of {', '.join(LANES)}, each once, or null for all."
    if not value:
        return "No lane is no limit: to stop a node's sending, set sending_enabled to false."
    return None


def _refusal_of_number(value: object, at_least: float, at_most: float, whole: bool) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
        return f"This is a{' whole' if whole else ''} number, or null for unlimited."
    if value == 0:
        return "0 is no limit: to stop a node, set sending_enabled (outbound) or accepting_enabled (ingress) to false."
    if not at_least <= value <= at_most:
        return f"This is from {at_least:,} to {at_most:,}."
    return None
