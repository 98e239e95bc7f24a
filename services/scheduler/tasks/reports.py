"""A message came back to a return path, or a complaint to the operator: what it says of our members is kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.core.address import Address, InvalidAddress
from shared.core.bounce import BounceClass, Diagnosis
from shared.core.mailing import TargetKind
from shared.core.membership import BounceKind
from shared.core.tokens import Purpose, Tokens
from shared.core.verp import VALID_DAYS, deliveries_named_in, delivery_of, mailing_of
from shared.mail.dsn import MAX_READ_BYTES, Finding, FindingKind, Reading, read
from shared.runtime.consequences import Consequences
from shared.runtime.subscriptions import Subscriptions
from shared.store import bounces, messages
from shared.store.bounces import Concerned, NewBounce
from shared.store.engine import RawConnection
from shared.store.handling import Waiting
from shared.store.messages import NewTarget

#: Of several findings about one member the first of these is kept.
_KINDS = {
    FindingKind.BOUNCE: BounceKind.BOUNCE,
    FindingKind.DELAY: BounceKind.DELAY,
    FindingKind.COMPLAINT: BounceKind.COMPLAINT,
}
#: What a complaint (RFC 5965) holds near its beginning.
_COMPLAINT_MARK = b"message/feedback-report"
_MARK_WITHIN_BYTES = 64 * 1024


#: What may be a token, in a header of anybody's.
_LEAVE_TOKEN = re.compile(r"\b[0-9a-f]{30,48}\b")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a message said, in one sentence, and what follows from its commit."""

    because: str
    consequences: Consequences = field(default_factory=Consequences)


@dataclass(frozen=True, slots=True)
class ReadReports:
    """Reads reports, and believes them about those whom a return path of ours names."""

    secret: bytes
    tokens: Tokens
    subscriptions: Subscriptions

    async def keep(self, connection: RawConnection, message: Waiting, target: NewTarget) -> Kept:
        """Keep what the message says, in the caller's transaction.

        Repeating it, or reading the same report again from another message, changes nothing more.
        """
        content = await messages.beginning_of(connection, message.id, max_bytes=MAX_READ_BYTES)
        if target.kind is TargetKind.OPERATOR and _COMPLAINT_MARK not in content[:_MARK_WITHIN_BYTES]:
            return Kept("")
        reading = await asyncio.to_thread(read, content, message.envelope_sender)
        complaint = next((each for each in reading.findings if each.kind is FindingKind.COMPLAINT), None)
        if complaint is not None:
            return await self._complain(connection, message, reading, complaint)
        if target.kind is TargetKind.OPERATOR:
            return Kept("")
        return Kept(await self._bounce(connection, message, target, reading))

    async def _complain(
        self, connection: RawConnection, message: Waiting, reading: Reading, complaint: Finding
    ) -> Kept:
        """Whoever complains shows a message that only the member got: the report itself anybody could write."""
        concerned = await self._complainer(connection, reading.returned_header.decode("latin-1"))
        if concerned is None:
            return Kept("A complaint that returns no message of ours, or of somebody who left: ignored.")
        new = NewBounce(concerned, BounceKind.COMPLAINT, None, None, complaint.reply or "")
        if not await bounces.record(connection, message.id, new):
            return Kept(f"Another complaint of {concerned.email}.")
        await bounces.suppress_complainer(connection, concerned)
        left = await self.subscriptions.leave(connection, concerned.member_id)
        return Kept(f"Complaint of {concerned.email}.", left)

    async def _complainer(self, connection: RawConnection, header: str) -> Concerned | None:
        """By the return path in the returned message's header, or else by its link for leaving."""
        for delivery_id in dict.fromkeys(deliveries_named_in(header, self.secret)):
            concerned = await bounces.concerned_by(connection, delivery_id, valid_days=VALID_DAYS)
            if concerned is not None and not concerned.is_stale:
                return concerned
        for token in _LEAVE_TOKEN.findall(header):
            member_id = self.tokens.read(Purpose.LEAVE, token, now=datetime.now(UTC))
            if member_id is not None:
                return await bounces.member_concerned(connection, member_id)
        return None

    async def _bounce(self, connection: RawConnection, message: Waiting, target: NewTarget, reading: Reading) -> str:
        said = []
        for concerned, finding in await self._concerned(connection, target, reading.findings):
            if concerned.is_stale:
                return f"The return path is older than {VALID_DAYS} days: ignored."
            await bounces.record(connection, message.id, _event(concerned, finding))
            said.append(f"{finding.kind.value} of {concerned.email}")
        if said:
            return f"Read: {', '.join(said)}."
        kinds = {finding.kind for finding in reading.findings}
        if FindingKind.AUTO_REPLY in kinds:
            return "Read: an automatic answer."
        return "Read: nothing that concerns a member."

    async def _concerned(
        self, connection: RawConnection, target: NewTarget, findings: Iterable[Finding]
    ) -> list[tuple[Concerned, Finding]]:
        """The members, and what is said of each. A return path of a delivery's own decides, whoever the text names."""
        of_use = sorted(
            (each for each in findings if each.kind in _KINDS), key=lambda each: list(_KINDS).index(each.kind)
        )
        local, _, _ = target.address.rpartition("@")
        delivery_id = delivery_of(local, self.secret)
        if delivery_id is not None:
            concerned = await bounces.concerned_by(connection, delivery_id, valid_days=VALID_DAYS)
            return [(concerned, of_use[0])] if concerned is not None and of_use else []
        mailing_id = mailing_of(local, self.secret)
        if mailing_id is None:
            return []
        pairs = []
        for finding in of_use:
            key = _key(finding.recipient)
            found = key and await bounces.concerned_of(connection, mailing_id, key, valid_days=VALID_DAYS)
            if found:
                pairs.append((found, finding))
        return pairs


def _event(concerned: Concerned, finding: Finding) -> NewBounce:
    return NewBounce(
        concerned,
        _KINDS[finding.kind],
        Diagnosis(finding.bounce_class or BounceClass.OTHER, finding.is_hard),
        finding.status,
        finding.reply or "",
    )


def _key(recipient: str | None) -> str | None:
    try:
        return None if recipient is None else Address.parse(recipient).key
    except InvalidAddress:
        return None
