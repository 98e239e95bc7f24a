"""What is read out of a message that came to a return path: one finding for each recipient that it speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.core.bounce import BounceClass


class FindingKind(StrEnum):
    """What the message says about a recipient."""

    #: The delivery failed for good.
    BOUNCE = "bounce"
    #: It is late, and still tried.
    DELAY = "delay"
    #: The recipient, or the provider in the recipient's name, calls the mail abuse (RFC 5965).
    COMPLAINT = "complaint"
    #: A program answered: a vacation note, a receipt, a challenge (RFC 3834).
    AUTO_REPLY = "auto_reply"
    #: Nothing that matters: delivered, relayed, expanded, or ordinary mail.
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Finding:
    """One recipient, and what became of the message there."""

    kind: FindingKind
    #: As the report spells it; `None` where it names nobody.
    recipient: str | None = None
    #: Of bounces and delays.
    bounce_class: BounceClass | None = None
    #: Whether it proves that the address is bad.
    is_hard: bool = False
    #: The enhanced status (RFC 3463), `None` when none was given.
    status: str | None = None
    #: The remote's words on one line, `None` when there are none.
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A message as it was read: never empty, ordinary mail is one finding of kind `none`."""

    findings: tuple[Finding, ...]
    #: The header of the message that the report returns, or as much of it as it returns; empty when it returns nothing.
    returned_header: bytes = b""
