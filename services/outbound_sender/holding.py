"""What holds the node back: for the operator, by the API and as metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from prometheus_client import Gauge

from shared.core.limits import HeldBack, Limit

_waiting_recipients = Gauge(
    "listfleet_limit_waiting_recipients", "Recipients in the node's hands that wait for the limit.", ["limit"]
)
_waiting_since = Gauge(
    "listfleet_limit_waiting_since_timestamp_seconds",
    "When the node began to wait for the limit, in seconds since 1970; 0 while it does not.",
    ["limit"],
)

#: A limit that is met again this soon has held the node back all the time.
CALM = timedelta(seconds=1)


class Holding:
    """Which limits hold the node back, since when, and how many recipients wait for each."""

    def __init__(self) -> None:
        self._held_back: dict[Limit, HeldBack] = {}
        self._seen_at: dict[Limit, datetime] = {}
        for limit in Limit:
            _tell(limit, None)

    @property
    def held_back(self) -> Sequence[HeldBack]:
        """One for each limit that holds the node back."""
        return tuple(self._held_back.values())

    def look(self, recipients: Mapping[Limit, int], now_at: datetime) -> None:
        """Now so many recipients wait for these limits."""
        for limit in Limit:
            before = self._held_back.get(limit)
            if limit in recipients:
                since_at = before.since_at if before is not None else now_at
                self._held_back[limit] = HeldBack(limit, since_at, recipients[limit])
                self._seen_at[limit] = now_at
            elif before is not None and now_at - self._seen_at[limit] > CALM:
                del self._held_back[limit]
            _tell(limit, self._held_back.get(limit))


def _tell(limit: Limit, held_back: HeldBack | None) -> None:
    _waiting_recipients.labels(limit.value).set(held_back.recipients if held_back else 0)
    _waiting_since.labels(limit.value).set(held_back.since_at.timestamp() if held_back else 0)
