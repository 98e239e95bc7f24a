"""What `/metrics` tells of an ingress node."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge

#: `reply` is the code that answered the final dot.
MESSAGES = Counter("listfleet_ingress_messages", "Messages whose content was read to its end.", ["reply"])
_SESSIONS = Gauge("listfleet_ingress_sessions", "Open SMTP sessions.")
_CONTENT_BYTES = Gauge("listfleet_ingress_content_bytes", "Content of messages that are not stored yet, in bytes.")


def observe(session_count: Callable[[], int], content_bytes: Callable[[], int]) -> None:
    """Let the gauges read their figures where they are, whenever somebody asks."""
    _SESSIONS.set_function(session_count)
    _CONTENT_BYTES.set_function(content_bytes)
