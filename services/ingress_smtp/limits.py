"""What one ingress node takes on at a time."""

from __future__ import annotations

from dataclasses import dataclass

#: RFC 5321 §4.5.3.2.7: at least five minutes.
IDLE_SECONDS = 300.0
#: While sessions are soon too many, for those between two commands.
CROWDED_IDLE_SECONDS = 10.0
#: Refused or unknown commands in one session.
MAX_ERRORS = 20
#: The octets of a command line; RFC 5321 §4.5.3.1.4 asks for 512, and parameters add to it.
MAX_COMMAND_OCTETS = 1024
#: The least share of memory for message content; never less than two messages of the largest size.
MIN_DATA_BYTES = 128 * 1024 * 1024


class DataBudget:
    """The bytes of all message content on the node that is not stored yet."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.held_bytes = 0

    def has_room(self, size_bytes: int) -> bool:
        """Whether `size_bytes` more can be held now."""
        return self.held_bytes + size_bytes <= self.capacity_bytes

    def share(self) -> DataShare:
        """An empty share, for one message."""
        return DataShare(self)


@dataclass(slots=True)
class DataShare:
    """What one message holds of the budget, until it gives it back."""

    budget: DataBudget
    held_bytes: int = 0

    def grow(self, size_bytes: int) -> bool:
        """Hold `size_bytes` more; false, and nothing changed, when the node has no room for them."""
        if not self.budget.has_room(size_bytes):
            return False
        self.budget.held_bytes += size_bytes
        self.held_bytes += size_bytes
        return True

    def give_back(self) -> None:
        """Hold nothing any more."""
        self.budget.held_bytes -= self.held_bytes
        self.held_bytes = 0
