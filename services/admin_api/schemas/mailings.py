"""Mailings, as requests and answers say them."""

from __future__ import annotations

from uuid import UUID

from shared.contracts.bodies import Answer, Body, Moment, may_be_absent
from shared.contracts.topology import Lane
from shared.core.mailing import MailingKind, MailingState


class MailingAnswer(Answer):
    """One message going to many members."""

    id: int
    """The mailing's number."""
    kind: MailingKind
    """A post, mail handed on to the operator or a list's owners, a notice of the system's own, or a newsletter."""
    lane: Lane
    """Its class of priority."""
    state: MailingState
    """Expanding (deliveries are being made, and sent already), running, or finished."""
    message_id: UUID
    """The message that it sends: `GET /messages/{message_id}`."""
    list: str | None
    """The list's address, a newsletter's first list's; null for what goes to no list."""
    newsletter_id: int | None
    """The newsletter that it is a sending of; null for others."""
    subject: str
    """The message's subject, decoded."""
    recipients: int
    """Deliveries made so far."""
    is_paused: bool
    """Whether nothing more of it starts until it is resumed."""
    cancelled_at: Moment | None
    """When it was cancelled; null when it was not."""
    not_after_at: Moment | None
    """No attempt begins after this moment, and what is open then expires; null is until the deliveries are given up."""
    gives_up_at: Moment
    """When what is still open then is given up."""
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
    unknown: int
    """Deliveries of which nobody knows whether they arrived: twice, the reply to the content did not come."""
    expired: int
    """Deliveries that were given up after too many days, or at the mailing's last moment."""
    suppressed: int
    """Deliveries that were not sent because nobody may mail the address."""
    cancelled: int
    """Deliveries that were cancelled before they were sent."""
    parked: int
    """Deliveries set aside, because their nodes died five times."""
    recently_mailed: int
    """Deliveries of a newsletter that were not sent because the address had as many lately as a list allows."""


class MailingChange(Body):
    """What to change of a mailing; what is absent stays as it is."""

    not_after_at: Moment | None = may_be_absent()
    """No attempt begins after this moment, and what is open then expires. Null takes that back."""
