"""Held posts, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from services.admin_api.schemas.base import Answer, Body, Moment, OneLine
from shared.core.held_post import HeldDecision

Reason = Annotated[OneLine, StringConstraints(max_length=1000)]


class HeldPostRejection(Body):
    """Why a post is rejected."""

    reason: Reason = ""
    """What the author is told; at most 1,000 characters on one line."""


class HeldPostAnswer(Answer):
    """A post that waits for a list's moderators, or did."""

    id: int
    """Its number."""
    list: str
    """The posting address of the list."""
    message_id: UUID
    """The message: `GET /messages/{message_id}`."""
    author: str
    """The first address in the From field."""
    is_author_proven: bool
    """Whether SPF or DKIM vouches for the author, or a trusted peer. Else anybody may have written it, and the author
    is told nothing."""
    subject: str
    """The subject, decoded."""
    size_bytes: int
    """The size of the message as it is stored."""
    because: str
    """Why it is held, each reason a clause."""
    held_at: Moment
    """When it came."""
    decision: HeldDecision | None
    """Approved, rejected, discarded, banned or expired; null while it waits."""
    decided_at: Moment | None
    """When it was decided."""
    decided_by: str
    """How: through the API, by a link in a moderator's mail, or by age; empty while it waits."""
    reason: str
    """The reason of a rejection."""


class HeldPostText(HeldPostAnswer):
    """A held post, with what is needed to judge it."""

    excerpt: str
    """The beginning of its text, at most 30 lines and 2,000 characters."""


class HeldPostDecision(HeldPostAnswer):
    """A post that was decided about just now."""

    is_author_told: bool
    """Whether the author gets a mail about it."""
