"""Held posts: remind of those that wait, and end those that waited too long."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.contracts.bodies import Body

Hours = Annotated[int, Field(ge=1, le=8_760)]


class HeldPostsParameters(Body):
    """When moderators are reminded, and when a post is given up; of all lists."""

    remind_after_hours: Hours | None = 24
    """After so many hours, and again after as many, moderators are told again of a post that waits: 1 to 8,760. Null is
    never."""
    expire_after_hours: Hours | None = 336
    """After so many hours nobody decides any more: the post has expired, and its author is told nothing. 1 to 8,760;
    336 is 14 days. Null is never."""
