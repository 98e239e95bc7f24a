"""Held members: remind those whose mail bounced, and let those go who do not answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.contracts.bodies import Body


class HeldMembersParameters(Body):
    """When members who are held after bounces are told again how to get the posts, how often, and what then; of all
    lists."""

    remind_after_days: Annotated[int, Field(ge=1, le=365)] = 7
    """So many days after a member was held, and again after as many, it is reminded: 1 to 365."""
    max_reminders: Annotated[int, Field(ge=0, le=100)] = 3
    """How many reminders a member gets: 0 to 100. So many days after the last of them it is removed, as if it had left,
    from lists that have `removes_held_members`; on others it stays held."""
