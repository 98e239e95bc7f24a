"""Purge: delete what is older than so many days."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.contracts.bodies import Body, refuse
from shared.core.verp import VALID_DAYS

Days = Annotated[int, Field(ge=1, le=36_500)]


class PurgeParameters(Body):
    """What a purge deletes, each after days of its own: 1 to 36,500. Absent is kept for ever. What is outstanding, and
    what belongs to a mailing that has not ended, is never deleted."""

    message_content_days: Days | None = None
    """The content of messages that came in so many days ago. What became of them stays known; they cannot be sent
    again."""
    delivery_days: Days | None = None
    """Deliveries and their attempts, a month at a time: a month that ended so many days ago, once all of its mailings
    have ended. The mailings' counts stay."""
    run_days: Days | None = None
    """Runs of scheduled tasks that ended so many days ago."""
    tracking_days: Days | None = None
    """Opens and clicks so many days ago. What they came to stays counted; of what is opened and clicked later in the
    same mailings, nobody's name is kept, since nobody can tell any more whether it is a reader's first."""
    bounce_days: Annotated[int, Field(ge=VALID_DAYS, le=36_500)] | None = None
    """Bounces and complaints so many days ago: 30 to 36,500, since reports are taken of mail that is so old. Scores of
    members stay."""
    notice_days: Annotated[int, Field(ge=VALID_DAYS, le=36_500)] | None = None
    """What is remembered of mail that the system itself wrote so many days ago: 30 to 36,500."""
    request_days: Days | None = None
    """Requests to join or leave whose time to be confirmed was over so many days ago, confirmed or not; those that wait
    for the list's owners are kept, until they are dropped after 90 days. Without it, 30 days."""

    @model_validator(mode="after")
    def _deletes_something(self) -> Self:
        if all(days is None for days in self.model_dump().values()):
            raise refuse("This deletes nothing: name what is to be deleted.")
        return self
