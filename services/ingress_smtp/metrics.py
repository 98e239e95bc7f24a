"""What `/metrics` tells of an ingress node."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge

from shared.core.ingress_limits import Busy, BusyBecause

#: `reply` is the code that answered the final dot.
MESSAGES = Counter("listfleet_ingress_messages", "Messages whose content was read to its end.", ["reply"])
#: `because` is a reason to be busy, or `max_connections_per_peer`.
REFUSED = Counter("listfleet_ingress_refused_connections", "Connections that were answered 421.", ["because"])
DISPLACED = Counter(
    "listfleet_ingress_displaced_sessions", "Sessions that brought nothing, ended to make room for others."
)
RATE = Gauge("listfleet_ingress_messages_per_second", "Messages that were answered 250 in the last second.")
_BUSY_SINCE = Gauge(
    "listfleet_ingress_busy_since_timestamp_seconds",
    "Since when the node takes no more because of this, in seconds since 1970; 0 while it is not busy because of it.",
    ["because"],
)
_SESSIONS = Gauge("listfleet_ingress_sessions", "Open SMTP sessions.")
_CONTENT_BYTES = Gauge("listfleet_ingress_content_bytes", "Content of messages that are not stored yet, in bytes.")


def observe(session_count: Callable[[], int], content_bytes: Callable[[], int]) -> None:
    """Let the gauges read their figures where they are, whenever somebody asks."""
    _SESSIONS.set_function(session_count)
    _CONTENT_BYTES.set_function(content_bytes)


def tell_busy(busy: Busy | None) -> None:
    """Why the node is busy, and since when; `None` when it is not."""
    for because in BusyBecause:
        is_it = busy is not None and busy.because is because
        _BUSY_SINCE.labels(because.value).set(busy.since_at.timestamp() if busy is not None and is_it else 0)
