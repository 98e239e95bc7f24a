"""Ids that begin with the moment in which they were drawn (UUIDv7, RFC 9562 §5.7): those of one time are neighbours."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

RANDOM_OCTETS = 10
_VERSION_AND_VARIANT = 0xF << 76 | 0b11 << 62


def id_at(moment: datetime, random: bytes) -> UUID:
    """The id for a moment and `RANDOM_OCTETS` of random."""
    number = int(moment.timestamp() * 1000) << 80 | int.from_bytes(random, "big")
    return UUID(int=number & ~_VERSION_AND_VARIANT | 7 << 76 | 0b10 << 62)


def first_id_at(moment: datetime) -> UUID:
    """None that is drawn from then on is before this one, and all before are."""
    return id_at(moment, bytes(RANDOM_OCTETS))
