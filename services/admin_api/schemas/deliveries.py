"""Deliveries and attempts, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from shared.contracts.bodies import Answer, Body, Moment, refuse
from shared.core.address import Address, InvalidAddress
from shared.core.bounce import BounceClass
from shared.core.delivery import SENT_AGAIN, DeliveryState, OutcomeKind


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

    id: int
    """The delivery's number."""
    recipient: str
    """The address, in the member's spelling."""
    state: DeliveryState
    """Open, or how it ended: *unknown* when twice the reply to the content did not come; *recently_mailed* when the
    address had as many newsletters lately as a list allows."""
    round: int
    """1, and one more for each time it was sent again."""
    ended_at: Moment | None
    """When it ended; null while it is open."""
    due_at: Moment | None
    """When an open delivery may be tried (again); null when it has ended."""
    deaths: int
    """How many nodes died with an open delivery in their hands."""
    attempts: list[AttemptAnswer]
    """All tries, in order."""


def _domain(text: str) -> str:
    try:
        return Address.parse(f"postmaster@{text}").ascii_domain
    except InvalidAddress as error:
        raise refuse("This is not a domain.") from error


Domain = Annotated[str, StringConstraints(max_length=253), AfterValidator(_domain)]


#: The beginning of what the remote said: a reply code, or an enhanced status.
ReplyBeginning = Annotated[str, StringConstraints(pattern=r"^([2-5]\d{0,2}|[245](\.\d{1,3}){1,2})$")]


class WhichDeliveries(Body):
    """Which of a mailing's deliveries are meant; those that meet all that is said."""

    domain: Domain | None = None
    """Only those to this domain, in any case, internationalised or ASCII; absent or null is any."""
    outcome: OutcomeKind | None = None
    """Only those whose last attempt came to this; absent or null is any."""
    reply: ReplyBeginning | None = None
    """Only those whose last reply begins so: a reply code or its first digits (`550`, `4`), or an enhanced status or
    its first parts (`5.1.1`, `5.7`); absent or null is any."""
    bounce_class: BounceClass | None = None
    """Only those that bounced for this reason, in our session or by a report that came back later; absent or null is
    any."""


class WhichToRetry(WhichDeliveries):
    """Which deliveries to send again."""

    state: list[DeliveryState] = Field(
        default_factory=lambda: sorted({DeliveryState.OPEN, *SENT_AGAIN}, key=list(DeliveryState).index), min_length=1
    )
    """Only those in one of these states; absent is all but `delivered` and `recently_mailed`, which are sent again only
    when they are named."""


class RetryOne(Body):
    """How to send one delivery again."""

    even_delivered: bool = False
    """Send it again although the next hop has taken it."""


class ChangedDeliveries(Answer):
    """What was done."""

    deliveries: int
    """How many deliveries it was done to."""
