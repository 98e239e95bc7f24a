"""Purge: delete what is older than so many days."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.contracts.bodies import Body, refuse

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

    @model_validator(mode="after")
    def _deletes_something(self) -> Self:
        if self.message_content_days is self.delivery_days is self.run_days is None:
            raise refuse("This deletes nothing: name what is to be deleted.")
        return self
