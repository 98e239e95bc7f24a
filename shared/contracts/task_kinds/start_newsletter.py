"""Start newsletter: make a mailing of a newsletter, at each of the task's times."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.contracts.bodies import Body


class StartNewsletterParameters(Body):
    """Which newsletter is sent; `POST /newsletters/{id}/schedule` makes such a task. A newsletter has one at most."""

    newsletter_id: Annotated[int, Field(ge=1, le=2**63 - 1)]
    """The newsletter's number. It has to be approved when its time comes."""
    not_after_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """No attempt of an occurrence begins so many seconds after it fell due: 60 to 31,536,000. Null is until its
    deliveries are given up, or the newsletter's `not_after_at`."""
