"""What is parked, as answers say it."""

from __future__ import annotations

from shared.contracts.bodies import Answer, Moment
from shared.store.parked import ParkedKind


class ParkedAnswer(Answer):
    """Something that was set aside whole, since nothing could handle it."""

    id: int
    """Its number, for `POST /parked/{id}/retry`."""
    kind: ParkedKind
    """A delivery whose nodes died with it in their hands, or a payload of the broker that nobody could handle."""
    because: str
    """Why it was set aside."""
    times: int
    """How often the same was set aside: the work of a payload is tried again by itself while it is undone."""
    parked_at: Moment
    """When it was set aside first."""
    latest_at: Moment
    """And when last."""
    mailing_id: int | None
    """A delivery's mailing; null for a payload."""
    delivery_id: int | None
    """The delivery; null for a payload."""
    recipient: str | None
    """The delivery's recipient; null for a payload."""
    queue: str | None
    """The queue that a payload came through; null for a delivery."""
    body: str | None
    """The payload, as text; bytes that are no UTF-8 are shown as U+FFFD. Null for a delivery."""
