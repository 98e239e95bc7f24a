"""Whether the node is busy, as it tells others: steadily, since balancers and people look only now and then."""

from __future__ import annotations

from datetime import datetime, timedelta

from shared.core.ingress_limits import Busy, BusyBecause

#: A node that is busy again this soon was busy all the time.
CALM = timedelta(seconds=1)


class Busyness:
    """Busy from the first moment on; not busy any more after a second's calm."""

    def __init__(self) -> None:
        self.busy: Busy | None = None
        self._seen_at: datetime | None = None

    def look(self, because: BusyBecause | None, now_at: datetime) -> None:
        """At this moment nobody may come in because of this, or somebody may."""
        if because is not None:
            self.busy = Busy(because, self.busy.since_at if self.busy is not None else now_at)
            self._seen_at = now_at
        elif self._seen_at is not None and now_at - self._seen_at > CALM:
            self.busy = None
