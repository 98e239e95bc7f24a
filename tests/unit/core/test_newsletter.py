"""What is shown of a newsletter."""

from __future__ import annotations

import pytest

from shared.core.mailing import MailingState
from shared.core.newsletter import NewsletterStage, NewsletterState, Sending, stage_of

RUNNING = Sending(MailingState.RUNNING, is_paused=False, is_cancelled=False)
PAUSED = Sending(MailingState.EXPANDING, is_paused=True, is_cancelled=False)
FINISHED = Sending(MailingState.FINISHED, is_paused=True, is_cancelled=False)
CANCELLED = Sending(MailingState.RUNNING, is_paused=True, is_cancelled=True)


@pytest.mark.parametrize(
    ("state", "is_due", "latest", "shown"),
    [
        (NewsletterState.DRAFT, False, None, "draft"),
        (NewsletterState.APPROVED, False, None, "approved"),
        (NewsletterState.SCHEDULED, True, None, "scheduled"),
        (NewsletterState.SCHEDULED, True, RUNNING, "scheduled"),
        (NewsletterState.SCHEDULED, False, RUNNING, "approved"),
        (NewsletterState.STARTED, False, RUNNING, "running"),
        (NewsletterState.STARTED, True, PAUSED, "paused"),
        (
            NewsletterState.STARTED,
            False,
            Sending(MailingState.FINISHED, is_paused=True, is_cancelled=False),
            "finished",
        ),
        (NewsletterState.STARTED, False, CANCELLED, "cancelled"),
        (NewsletterState.CANCELLED, False, RUNNING, "cancelled"),
    ],
)
def test_a_newsletter_shows_its_own_state_and_then_its_mailings(
    state: NewsletterState, is_due: bool, latest: Sending | None, shown: str
) -> None:
    assert stage_of(state, is_due=is_due, latest=latest) is NewsletterStage(shown)
