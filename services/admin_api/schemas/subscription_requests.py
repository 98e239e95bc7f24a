"""Requests to join a list, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from services.admin_api.schemas.base import Answer, Body, EmailAddress, Moment, OneLine
from shared.core.subscription import RequestAction, RequestSource, RequestState


class SubscriptionRequestAnswer(Answer):
    """What was asked for one address."""

    id: int
    """The request's number."""
    email: str
    """The address, in the spelling it was given in."""
    action: RequestAction
    """What is asked; only joining waits for a decision."""
    source: RequestSource
    """How it came: mail, web, or invitation."""
    state: RequestState
    """Where it stands: asked, confirming (its address was asked), pending (the owners decide), done, rejected, or
    dropped (nothing was to be done)."""
    created_at: Moment
    """When it was asked."""
    changed_at: Moment
    """When it came to its state."""


class Rejection(Body):
    """What the address is told."""

    reason: Annotated[OneLine, StringConstraints(max_length=500)] = ""
    """Why, in words of the owners; at most 500 characters on one line."""


class NewInvitation(Body):
    """Who is invited."""

    email: EmailAddress
    """The address. It is asked whether it wants to join, and is a member when it says so within 7 days."""
