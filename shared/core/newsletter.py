"""A newsletter's life until it is sent; from then on, its mailings have theirs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.core.mailing import MailingState

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


class NewsletterStage(StrEnum):
    """What is shown of a newsletter: its own state, and from its start on what its mailing does."""

    DRAFT = "draft"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Sending:
    """How a newsletter's mailing stands."""

    state: MailingState
    is_paused: bool
    is_cancelled: bool

    @property
    def stage(self) -> NewsletterStage:
        if self.is_cancelled:
            return NewsletterStage.CANCELLED
        if self.state is MailingState.FINISHED:
            return NewsletterStage.FINISHED
        return NewsletterStage.PAUSED if self.is_paused else NewsletterStage.RUNNING


def stage_of(state: NewsletterState, *, is_due: bool, latest: Sending | None) -> NewsletterStage:
    """What is shown; `is_due` when its task is there, not paused, and has an occurrence to come or in hand.

    One whose task is gone or paused is approved: nothing sends it until somebody says so.
    """
    if state is NewsletterState.STARTED:
        return latest.stage if latest is not None else NewsletterStage.FINISHED
    if state is NewsletterState.SCHEDULED:
        return NewsletterStage.SCHEDULED if is_due else NewsletterStage.APPROVED
    return NewsletterStage(state.value)
