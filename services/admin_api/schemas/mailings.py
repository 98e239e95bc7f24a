"""Mailings, deliveries and attempts, as answers say them."""

from __future__ import annotations

from uuid import UUID

from services.admin_api.schemas.base import Answer, Moment
from shared.contracts.topology import Lane
from shared.core.delivery import DeliveryState, OutcomeKind
from shared.core.mailing import MailingKind, MailingState


class MailingAnswer(Answer):
    """One message going to many members."""

    id: int
    """The mailing's number."""
    kind: MailingKind
    """A post, or mail handed on to the operator."""
    lane: Lane
    """Its class of priority."""
    state: MailingState
    """Expanding (deliveries are being made, and sent already), running, or finished."""
    message_id: UUID
    """The message that it sends: `GET /messages/{message_id}`."""
    list: str | None
    """The list's address; null for mail to the operator."""
    subject: str
    """The message's subject, decoded."""
    recipients: int
    """Deliveries made so far."""
    suppressed: int
    """How many of them were not to be sent from the start, because nobody may mail the address."""
    created_at: Moment
    """When it was made."""
    finished_at: Moment | None
    """When its last delivery ended; null before."""


class MailingDetail(MailingAnswer):
    """A mailing, and how far it is."""

    open: int
    """Deliveries that have not ended."""
    delivered: int
    """Deliveries that the next hop took."""
    refused: int
    """Deliveries that the next hop refused for good."""
    expired: int
    """Deliveries that were given up after too many days."""
    parked: int
    """Deliveries set aside, because their nodes died five times."""


class AttemptAnswer(Answer):
    """One try."""

    round: int
    """1, and one more for each time somebody asked for a fresh start."""
    attempt: int
    """The try's number in its round, from 1."""
    node: str
    """The node that made it."""
    outcome: OutcomeKind
    """Delivered, deferred, refused, or unknown (the connection ended before the reply to the final dot)."""
    because: str
    """The step and what happened there."""
    reply_code: int | None
    """The remote's SMTP reply code; null when it said nothing."""
    reply_text: str | None
    """The remote's own words."""
    remote_host: str | None
    """The host that was talked to; null when none was reached."""
    ended_at: Moment
    """When its outcome was recorded."""


class DeliveryAnswer(Answer):
    """A mailing to one recipient."""

    recipient: str
    """The address, in the member's spelling."""
    state: DeliveryState
    """Open, or how it ended."""
    ended_at: Moment | None
    """When it ended; null while it is open."""
    due_at: Moment | None
    """When an open delivery may be tried (again); null when it has ended."""
    deaths: int
    """How many nodes died with an open delivery in their hands."""
    attempts: list[AttemptAnswer]
    """All tries, in order."""
