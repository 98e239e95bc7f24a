"""Limits of recipient domains, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.contracts.bodies import Answer, Body, Moment, refuse


class DomainLimitSettings(Body):
    """What all nodes together may do towards the domains of a pattern. Null or absent is unlimited."""

    connections: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    """SMTP connections open at once: 1 to 10,000. Without it, a domain that is limited otherwise has at most 50."""
    messages_per_minute: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Messages started in any 60 seconds, evenly: 1 to 1,000,000."""
    messages_per_connection: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    """Messages on one connection before it is closed: 1 to 10,000. No more than 100 are ever sent on one."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.connections is self.messages_per_minute is self.messages_per_connection is None:
            raise refuse("This limits nothing: name a limit, or delete the pattern.")
        return self


class DomainLimitAnswer(Answer):
    """The limit of a pattern, for all nodes together; null is unlimited."""

    pattern: str
    """`example.com`: this domain; `*.example.com`: all domains below it; `mx:*.example.net`: all domains whose mail
    exchanger is below example.net. All domains of a pattern share its limit; the most specific pattern counts."""
    connections: int | None
    """SMTP connections open at once."""
    messages_per_minute: int | None
    """Messages started in any 60 seconds."""
    messages_per_connection: int | None
    """Messages on one connection."""
    is_automatic: bool
    """Nobody set it: the domain refused for volume, and is slowed down until it takes mail again."""
    slowed_to_per_minute: float | None
    """Messages started in any 60 seconds while the domains are slowed down, if that is less than the limit; null when
    they are not. Halved when they refuse for volume (421, 4.7.x, 4.4.x), raised by 60 a minute while they do not."""
    slowed_because: str | None
    """The last such refusal, in the remote's words."""
    slowed_at: Moment | None
    """Since when they are slowed down."""
    connections_in_use: int
    """Connections that nodes have now, or are about to open."""
    updated_at: Moment
    """When it was set."""
