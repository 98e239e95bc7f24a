"""Roll-up: count what became of mailings' deliveries, by domain and over time."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.contracts.bodies import Body


class RollUpParameters(Body):
    """Which mailings are counted anew: those that have not ended, and the younger ones. Mailings to at most 5,000
    recipients are counted whenever somebody asks for their statistics, and need this only to be known after a purge of
    their deliveries."""

    days: Annotated[int, Field(ge=1, le=3_650)] = 7
    """Mailings that began within so many days, during which bounces come back: 1 to 3,650."""
