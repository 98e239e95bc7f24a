"""What this node starts nothing of, although it holds it: membership tests, made before every transaction."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from services.outbound_sender.held_batch import Job
from shared.core.address import Address
from shared.store.stops import Stops

#: Longer than a recipient is held from the claim to its content's first byte, whatever its peer does.
REMEMBERED_SECONDS = 900.0


class StopList:
    """Read with every sign of life, and heard of on `control` before.

    A delivery or an address that was stopped is remembered for `REMEMBERED_SECONDS`, or until it is claimed anew: a
    claim consults the rows, so what it hands out is not stopped any more.
    """

    def __init__(self) -> None:
        self._mailing_ids: frozenset[int] = frozenset()
        #: Deliveries by number and addresses by normalised form, with the moments they were last heard of.
        self._stopped: dict[int | str, float] = {}

    def covers(self, job: Job) -> bool:
        """Whether the job must not start."""
        if job.held.batch.mailing_id in self._mailing_ids:
            return True
        return bool(self._stopped) and (job.recipient.delivery_id in self._stopped or job.address.key in self._stopped)

    def read(self, stops: Stops) -> None:
        """What the rows say."""
        self._mailing_ids = stops.mailing_ids
        self.hear(stops.delivery_ids)
        self.hear(stops.email_keys)
        if self._stopped:
            oldest = monotonic() - REMEMBERED_SECONDS
            self._stopped = {stopped: heard for stopped, heard in self._stopped.items() if heard > oldest}

    def hear(self, stopped: Iterable[int | str]) -> None:
        """Deliveries or addresses that must not start."""
        now = monotonic()
        for delivery_or_key in stopped:
            self._stopped[delivery_or_key] = now

    def claimed(self, delivery_ids: Iterable[int], addresses: Iterable[Address], asked_at_seconds: float) -> None:
        """These were not stopped when they were claimed, after `asked_at_seconds` (monotonic); what was heard since
        then holds."""
        if self._stopped:
            these: list[int | str] = [*delivery_ids, *[address.key for address in addresses]]
            for stopped in these:
                if self._stopped.get(stopped, asked_at_seconds) < asked_at_seconds:
                    del self._stopped[stopped]
