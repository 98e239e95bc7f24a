"""Incoming messages, as answers say them."""

from __future__ import annotations

from uuid import UUID

from services.admin_api.schemas.base import Answer, Moment
from shared.core.mailing import TargetKind, TargetState


class TargetAnswer(Answer):
    """What became of the message at one recipient it was accepted for."""

    address: str
    """The recipient."""
    kind: TargetKind
    """A list, the operator (also a list's owners), a list's address for commands, or a return path of ours."""
    state: TargetState
    """Received (nothing decided yet), distributed, obeyed (commands were done and answered), refused, duplicate, or
    kept."""
    because: str
    """The reason of a refusal or of keeping it, or the id of the message that this one repeats."""
    mailing_id: int | None
    """The mailing that was made of it: `GET /mailings/{mailing_id}`."""


class MessageAnswer(Answer):
    """A message that was answered with 250."""

    id: UUID
    """The id that the 250 named."""
    received_at: Moment
    """When it was stored."""
    size_bytes: int
    """Its size as it was stored."""
    content_purged_at: Moment | None
    """When a purge deleted its content: it cannot be sent again."""
    envelope_sender: str
    """The return path it came with; empty for the null sender."""
    message_id: str
    """Its Message-ID field."""
    subject: str
    """Its subject, decoded."""
    peer: str
    """The host it came from."""
    targets: list[TargetAnswer]
    """Its recipients, by address."""
