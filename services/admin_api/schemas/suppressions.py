"""Suppressions, as requests and answers say them."""

from __future__ import annotations

from shared.contracts.bodies import Answer, Body, EmailAddress, Moment
from shared.store.suppressions import SuppressionReason


class NewSuppression(Body):
    """An address that nobody may mail from now on."""

    email: EmailAddress
    """The address."""
    reason: SuppressionReason = SuppressionReason.MANUAL
    """Hard bounce, complaint, or manual: the operator said so."""
    ends_at: Moment | None = None
    """When the address may be mailed again; null or absent is never."""


class SuppressionAnswer(Answer):
    """An address that nobody may mail."""

    email: str
    """The address, in the spelling it was given in."""
    reason: SuppressionReason
    """Hard bounce, complaint, or manual."""
    created_at: Moment
    """Since when."""
    ends_at: Moment | None
    """Until when; null is for ever."""
