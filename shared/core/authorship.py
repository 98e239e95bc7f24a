"""Whether a message is by whom its From field names."""

from __future__ import annotations

from enum import Enum, auto


class Belief(Enum):
    """What is known of a message's authors."""

    #: SPF or DKIM vouches for every author's domain, or the peer is one whose word is enough.
    PROVEN = auto()
    #: Anybody may have written it.
    UNPROVEN = auto()
    #: The same, and an author's domain asks that such mail be set aside or refused (RFC 9989).
    DISOWNED = auto()
    #: The DNS did not answer, and with its answer it might be proven.
    UNKNOWN_NOW = auto()
