"""A claimed batch in this node's hands, and its recipients as jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from services.outbound_sender.copies import Copies, WireContent
from services.outbound_sender.moments import Moments
from shared.core.address import Address
from shared.core.delivery import Outcome
from shared.store.claims import ClaimedBatch, Recipient


@dataclass(slots=True)
class HeldBatch:
    """A claimed batch, what of it is not started, and what has no outcome yet."""

    batch: ClaimedBatch
    #: What to send, or what every recipient comes to without sending.
    content: WireContent | Copies | Outcome
    #: When the claim was asked for, by the loop's clock.
    claimed_at_seconds: float
    #: Called once, when nothing of the batch is unstarted: the broker's message can go.
    on_all_started: Callable[[], None]
    unstarted: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    #: What the batch's row says about `unstarted`.
    reported_unstarted: int = 0
    #: When its recipients may start; `None` for a batch that is under no limit.
    moments: Moments | None = None

    @property
    def id(self) -> int:
        return self.batch.id

    @property
    def claim(self) -> UUID:
        return self.batch.claim

    def leave_unstarted(self, delivery_id: int) -> None:
        """The recipient was started, or goes back to the others."""
        if delivery_id in self.unstarted:
            self.unstarted.discard(delivery_id)
            if not self.unstarted:
                self.on_all_started()


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One recipient to send to."""

    held: HeldBatch
    recipient: Recipient
    address: Address
