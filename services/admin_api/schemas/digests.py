"""Digests, as answers say them."""

from __future__ import annotations

from shared.contracts.bodies import Answer, Moment
from shared.core.digest import DigestState


class DigestAnswer(Answer):
    """An issue of a list's digest."""

    id: int
    """The digest's number in this API."""
    state: DigestState
    """*collecting*, the list's next one, which posts join; *closed*, its mailings are being made; *made*."""
    volume: int | None
    """The year, counted from the list's first with digests; null while it collects."""
    issue: int | None
    """The issue within the volume; null while it collects."""
    posts: int
    """Posts that joined it; those that were cancelled before it was made are left out of it."""
    size_bytes: int
    """Bytes of these posts as they came, attachments included."""
    mailing_ids: list[int]
    """Its mailings, one a format that somebody reads: `GET /mailings/{id}`."""
    opened_at: Moment
    """When its first post came."""
    closed_at: Moment | None
    """When its time or its size had come; null while it collects."""
    made_at: Moment | None
    """When its last mailing was made; null before."""
