"""The ledger: what was accepted against what the sink saw, what the API says, and what is left in rows and queues."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from chaos import rows
from chaos.rig import Mailing, Rig

#: Acknowledgements and good-byes come a little after the last outcome.
_SETTLE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Balance:
    """What one seed came to."""

    #: Recipients of accepted posts without an answered copy and without another end that is on record.
    lost: int
    #: Copies to somebody, or of something, that nobody sent.
    wrong: int
    #: Copies beyond the first to a recipient.
    extra: int
    allowed_extra: int
    #: What else is not as it must be, a sentence each.
    complaints: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.wrong or self.complaints) and self.extra <= self.allowed_extra


class Ledger:
    """Balances the mailings of one rig, seed by seed; a copy that comes late counts where it came."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._mailings = 0
        self._extra = self._wrong = 0

    def balance(self, allowed_extra: int, complaints: tuple[str, ...] = ()) -> Balance:
        """All since the last balance. Waits until the rows and the queues are empty, for a while."""
        mailings, self._mailings = self._rig.mailings[self._mailings :], len(self._rig.mailings)
        extra, wrong = self._rig.sink.extra_copies(), self._wrong_copies()
        lost, disagreements = 0, list(complaints)
        for mailing in mailings:
            of_this, told = self._lost_of(mailing)
            lost += of_this
            disagreements += told
        balance = Balance(
            lost, wrong - self._wrong, extra - self._extra, allowed_extra, (*disagreements, *self._left())
        )
        self._extra, self._wrong = extra, wrong
        return balance

    def _lost_of(self, mailing: Mailing) -> tuple[int, list[str]]:
        copies = [copy for copy in list(self._rig.sink.copies) if copy.subject == mailing.subject]
        answered = {copy.recipient for copy in copies if copy.answered_seconds is not None}
        missing = len(mailing.members - answered)
        mailing_id = self._rig.cluster.api.mailing_id_of(mailing.message_id)
        if mailing_id is None:
            return missing, [f"{mailing.subject}: accepted, and no mailing was made of it"]
        told = self._rig.cluster.api.mailing(mailing_id)
        on_record = sum(told[state] for state in ("refused", "expired", "suppressed", "cancelled"))
        complaints = [
            f"{mailing.subject}: {told[state]} deliveries {state}"
            for state in ("open", "parked", "unknown")
            if told[state]
        ]
        if told["recipients"] != len(mailing.members):
            complaints.append(f"{mailing.subject}: {told['recipients']} deliveries for {len(mailing.members)} members")
        if told["delivered"] != len(mailing.members & answered):
            complaints.append(f"{mailing.subject}: {told['delivered']} delivered by the API, {len(answered)} answered")
        return max(0, missing - on_record), complaints

    def _wrong_copies(self) -> int:
        members = {mailing.subject: mailing.members for mailing in self._rig.mailings}
        return sum(copy.recipient not in members.get(copy.subject, ()) for copy in list(self._rig.sink.copies))

    def _left(self) -> list[str]:
        """What is left in rows and queues, once they had time to settle."""
        cluster, deadline = self._rig.cluster, time.monotonic() + _SETTLE_SECONDS
        while True:
            batches, deliveries = asyncio.run(rows.unfinished(cluster.database_url))
            queued = asyncio.run(rows.queued(cluster.broker_url))
            if not (batches or deliveries or queued):
                return []
            if time.monotonic() > deadline:
                return [f"left: {batches} batches, {deliveries} deliveries in rows; {queued or 'nothing'} in queues"]
            time.sleep(0.2)
