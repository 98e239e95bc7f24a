"""Start newsletter: compose it, and make the mailing of one of its occurrences, exactly one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from services.scheduler.run import Run, TaskFailed, TaskRefused
from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.commands import ExpandMailing
from shared.contracts.task_kinds.start_newsletter import StartNewsletterParameters
from shared.contracts.topology import TaskQueue
from shared.store import newsletter_starts
from shared.store.newsletter_starts import ComposedMailing, NotStarted, Occasion, Outdated, Started

_log = structlog.get_logger(__name__)

#: Makes the message of a newsletter; `None` when there is no such newsletter.
Compose = Callable[[int], Awaitable[ComposedMailing | None]]

#: So often it is composed when somebody changes it at the same moment.
COMPOSED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class NewsletterStarted:
    """The mailing, and whom it is for."""

    mailing_id: int
    lists: Sequence[str]
    segment: dict[str, Any] | None
    unopened_of_mailing_id: int | None


@dataclass(frozen=True, slots=True)
class StartNewsletter:
    """The doing of the kind."""

    compose: Compose
    publisher: Publisher
    publish_within_seconds: float
    give_up_after_seconds: float

    async def __call__(self, run: Run, parameters: StartNewsletterParameters) -> NewsletterStarted:
        """The mailing of this occurrence, made now or in an earlier try."""
        occasion = Occasion(run.claimed.task_id, run.claimed.due_at, parameters.not_after_seconds)
        for _ in range(COMPOSED_AT_MOST):
            composed = await self.compose(parameters.newsletter_id)
            if composed is None:
                raise TaskRefused(f"There is no newsletter {parameters.newsletter_id}.")
            made = await self._start(run, parameters.newsletter_id, occasion, composed)
            if isinstance(made, NotStarted):
                raise TaskRefused(made.because)
            if isinstance(made, Started):
                await self._publish(made.mailing_id)
                return NewsletterStarted(made.mailing_id, made.lists, made.segment, made.unopened_of_mailing_id)
        raise TaskFailed("Somebody changes the newsletter at this moment.")

    async def _start(
        self, run: Run, newsletter_id: int, occasion: Occasion, composed: ComposedMailing
    ) -> Started | NotStarted | Outdated:
        async with run.step() as connection:
            return await newsletter_starts.start(
                connection,
                newsletter_id,
                occasion,
                composed,
                expand_again_after_seconds=self.publish_within_seconds,
                give_up_after_seconds=self.give_up_after_seconds,
            )

    async def _publish(self, mailing_id: int) -> None:
        try:
            await self.publisher.publish(TaskQueue.TASKS.value, ExpandMailing(mailing_id))
        except BrokerUnavailable as error:
            _log.warning("left to the sweep", mailing=mailing_id, error=str(error))
