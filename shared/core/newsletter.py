"""A newsletter's life until it is sent; from then on, its mailings have theirs."""

from __future__ import annotations

from enum import StrEnum

#: Over which a list counts the newsletters that an address had, unless it says otherwise.
DEFAULT_RECENCY_DAYS = 7


class NewsletterState(StrEnum):
    """Where a newsletter stands.

    draft → approved → scheduled → started; draft | approved | scheduled → cancelled; approved | scheduled → draft when
    it is edited. A newsletter that recurs stays *scheduled*.
    """

    DRAFT = "draft"
    #: Somebody has looked at it, and it may be sent as it is.
    APPROVED = "approved"
    #: A task sends it at its time, once or again and again.
    SCHEDULED = "scheduled"
    #: It is a mailing now.
    STARTED = "started"
    CANCELLED = "cancelled"
