"""A post that a list has had is not sent to it again."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from shared.core.posting.post import Accept, Discard


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the list has had within seven days that may be the same post."""

    #: The message with the same Message-ID, sender and body.
    same: UUID | None
    #: One with the same Message-ID, where one of the two came through another list, which changes sender and body.
    same_by_another_way: UUID | None


def duplicate(earlier: Earlier) -> Accept | Discard:
    """Discards it: who sends a post again because our answer was lost is answered with 250 again."""
    first = earlier.same or earlier.same_by_another_way
    return Discard(f"The same as message {first}.") if first else Accept()
