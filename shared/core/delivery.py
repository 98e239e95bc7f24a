"""A delivery's life: one mailing to one recipient, its states, and what an attempt can come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.core.smtp_reply import Reply


class OutcomeKind(StrEnum):
    """What one attempt came to."""

    #: The next hop answered 2xx to the final dot.
    DELIVERED = "delivered"
    #: 4yz, or no connection: it is tried again by schedule.
    DEFERRED = "deferred"
    #: 5yz while connected: final.
    REFUSED = "refused"
    #: The connection ended between the final dot and its reply: nobody can know. Tried again, once.
    UNKNOWN = "unknown"


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    #: Waiting for its turn, released, or in a node's hands.
    OPEN = "open"
    DELIVERED = "delivered"
    REFUSED = "refused"
    #: Two attempts of a round ended between the final dot and its reply: it may have arrived, even twice.
    UNKNOWN = "unknown"
    #: Older than the give-up age, or past the moment after which the mailing is not to be sent.
    EXPIRED = "expired"
    #: The address was suppressed before it was sent to.
    SUPPRESSED = "suppressed"
    #: Somebody cancelled it, or its mailing, before it was sent.
    CANCELLED = "cancelled"
    #: Set aside whole, after its nodes died five times.
    PARKED = "parked"
    #: A newsletter's, to an address that had as many lately as its list allows.
    RECENTLY_MAILED = "recently_mailed"


#: The states from which nothing follows by itself; a late report of *delivered* wins over each of the others.
ENDED = frozenset(DeliveryState) - {DeliveryState.OPEN}
#: What "send again" opens a new round for without being asked for it by name: a delivered one has its copy, and who had
#: enough lately is not to have more by the way.
SENT_AGAIN = ENDED - {DeliveryState.DELIVERED, DeliveryState.RECENTLY_MAILED}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's typed result, with the remote's own words where it said any."""

    kind: OutcomeKind
    #: One short sentence for the operator: the step and what happened, e.g. "connection lost before the greeting".
    because: str
    reply: Reply | None = None
    #: The host that was talked to, `None` when none was reached.
    remote_host: str | None = None
