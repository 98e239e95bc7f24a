"""What a peer's replies to MAIL, each RCPT and DATA mean for each recipient (RFC 5321 §4.2, RFC 2920 §3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import Reply

#: RFC 5321 §4.5.3.1.8: what every server must take in one transaction.
MAX_RECIPIENTS = 100


class EnvelopeAnswers:
    """Gathers the replies, in the order of the commands, and turns them into outcomes."""

    def __init__(self, recipients: int, host: str) -> None:
        #: The recipients who are to get the content, by their place.
        self.accepted: list[int] = []
        #: What the transaction came to for everybody who was not refused before, when it ended without content.
        self.failure: Outcome | None = None
        #: The two sides no longer agree where they stand.
        self.is_out_of_step = False
        self._recipients = recipients
        self._host = host
        self._declined: dict[int, Outcome] = {}
        self._too_many: set[int] = set()
        self._next_recipient = 0

    @property
    def has_too_many(self) -> bool:
        """Whether the peer takes fewer recipients at once than it was given."""
        return bool(self._too_many and self.accepted)

    def is_final_before(self, step: str) -> bool:
        """Whether nothing that follows from `step` (RSET, MAIL, RCPT or DATA) on can lead to content."""
        return self.failure is not None or (step == "DATA" and not self.accepted)

    def hear(self, step: str, reply: Reply) -> None:
        """The reply to `step`. After a failure the rest is answered too, mostly 503, and says nothing."""
        if reply.code == 421:
            self.end(f"421 to {step}", reply)
        elif self.failure:
            return
        elif step == "RCPT":
            self._hear_recipient(reply)
        elif step == "DATA":
            if self.accepted and reply.code != 354:
                self.failure = self._decline("DATA", reply)
        elif not reply.is_positive:
            self.failure = self._decline(step, reply)

    def end(self, because: str, reply: Reply | None = None) -> None:
        """The connection is over: a deferral for everybody without a refusal. The first failure stays."""
        self.failure = self.failure or Outcome(OutcomeKind.DEFERRED, because, reply, self._host)

    def outcomes(self, of_the_content: Outcome | None) -> Sequence[Outcome | None]:
        """Each recipient's outcome; `None` for those who are for the next transaction."""
        rest = self.failure or of_the_content
        left_for_the_next = self._too_many if self.accepted and not self.failure else ()
        return [
            None if place in left_for_the_next else self._declined.get(place, rest) for place in range(self._recipients)
        ]

    def _hear_recipient(self, reply: Reply) -> None:
        place = self._next_recipient
        self._next_recipient += 1
        if reply.is_positive:
            self.accepted.append(place)
            return
        outcome = self._declined[place] = self._decline("RCPT", reply)
        if self.is_out_of_step:
            self.failure = outcome
        elif _says_too_many(reply) and self.accepted:
            self._too_many.add(place)

    def _decline(self, step: str, reply: Reply) -> Outcome:
        # Neither a refused RSET nor a reply that fits no command says anything about a recipient.
        self.is_out_of_step = step == "RSET" or not (reply.is_transient or reply.is_permanent)
        is_final = reply.is_permanent and not self.is_out_of_step and not _says_too_many(reply)
        kind = OutcomeKind.REFUSED if is_final else OutcomeKind.DEFERRED
        return Outcome(kind, f"{reply.code} to {step}", reply, self._host)


def _says_too_many(reply: Reply) -> bool:
    """452 4.5.3, or the 552 of old (RFC 5321 §4.5.3.1.10); without an enhanced status 452 is taken at its word."""
    status = reply.enhanced_status
    if reply.code == 452:
        return status is None or status.endswith(".5.3")
    return reply.code == 552 and status is not None and status.endswith(".5.3")
