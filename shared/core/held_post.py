"""What moderators decide about a held post."""

from __future__ import annotations

from enum import StrEnum

from shared.core.mailing import TargetState


class HeldDecision(StrEnum):
    """One for each post, and the last."""

    #: It goes to the members.
    APPROVED = "approved"
    #: It does not, and its author is told why, if it is known who that is.
    REJECTED = "rejected"
    DISCARDED = "discarded"
    #: As discarded, and whatever else comes from its author is refused.
    BANNED = "banned"
    #: Nobody decided in time.
    EXPIRED = "expired"

    @property
    def target_state(self) -> TargetState:
        """What becomes of the message at the list."""
        return _STATES[self]


_STATES = {
    HeldDecision.APPROVED: TargetState.RECEIVED,
    HeldDecision.REJECTED: TargetState.REJECTED,
    HeldDecision.DISCARDED: TargetState.DISCARDED,
    HeldDecision.BANNED: TargetState.DISCARDED,
    HeldDecision.EXPIRED: TargetState.EXPIRED,
}
#: Patterns that a list's banned addresses may be.
MAX_BANNED = 1000
