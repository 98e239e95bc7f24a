"""Copies that differ by recipient: rendered and signed in the pool, a few ahead of those who want them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import structlog

from shared.core.delivery import Outcome, OutcomeKind
from shared.mail.dkim import Canonical, Signer
from shared.mail.segments import TokenSlot, Wire
from shared.mail.tracking import Tracking
from shared.runtime.copies import member_values
from shared.store.claims import Recipient

_log = structlog.get_logger(__name__)

#: Copies made at one go: handing work to a thread costs as much as making some of them.
CHUNK = 8


@dataclass(frozen=True, slots=True)
class WireContent:
    """A message as it follows DATA: dot-stuffed, with the final dot."""

    #: To be written one after the other; they are shared with other copies.
    segments: tuple[bytes, ...]
    has_8bit: bool
    #: The domain of the return paths.
    return_domain: str
    #: A header field is in UTF-8, as a server with SMTPUTF8 expects to be told (RFC 6531 §3.4). Old programs' letters
    #: of other character sets are no UTF-8, and nothing that any extension is about.
    has_utf8_header: bool = False
    #: One return path for all recipients, who may then share a transaction; `None`: each has one of its own.
    shared_return_path: str | None = None

    @property
    def size_bytes(self) -> int:
        """What is written for each transaction."""
        return sum(map(len, self.segments))


@dataclass(frozen=True, slots=True)
class PersonalContent:
    """A compiled mailing with slots, and what signs its copies."""

    wire: Wire
    canonical: Canonical
    signers: tuple[Signer, ...]
    return_domain: str
    has_8bit: bool
    has_utf8_header: bool
    #: Makes the member's own token, for copies that have one.
    leave_token: Callable[[int], str] | None = None
    #: Makes the member's own links, by the merge fields that they stand for.
    own_links: Callable[[int], Mapping[str, str]] | None = None
    #: Makes the tokens by which the copy tells that it is read.
    tracking: Tracking | None = None

    @property
    def is_quick(self) -> bool:
        """A copy takes less time than handing it to a thread."""
        return not self.signers and not self.wire.has_merge_fields

    def copy(self, recipient: Recipient) -> WireContent:
        """The recipient's own copy, signed; it has a return path of its own, since nobody can share its transaction."""
        fillings = self.wire.fill(self._values(recipient))
        signatures: list[bytes] = []
        if self.signers:
            digests = self.canonical.digests(fillings)
            signatures = [signer.field(digests) for signer in self.signers]
        segments = (*signatures, *self.wire.segments(fillings))
        return WireContent(segments, self.has_8bit, self.return_domain, self.has_utf8_header)

    def _values(self, recipient: Recipient) -> Mapping[str, str]:
        """What the slots are filled with."""
        tokens = {} if self.leave_token is None else {TokenSlot.VALUE: self.leave_token(recipient.member_id)}
        if self.tracking is not None:
            tokens |= self.tracking.values(recipient.delivery_id, self.wire.reader_purposes)
        if not self.wire.has_merge_fields:
            return tokens
        fields = json.loads(recipient.fields_json)
        values = member_values(fields, address=recipient.address, display_name=recipient.display_name)
        own_links = {} if self.own_links is None else self.own_links(recipient.member_id)
        return {**values, **own_links, **tokens}


class Copies:
    """The copies of one batch. Whoever asks for one has the next chunk begun too, so that it is there when wanted."""

    def __init__(self, content: PersonalContent, recipients: Sequence[Recipient], pool: Executor) -> None:
        self._content = content
        self._pool = pool
        self._chunks = [recipients[at : at + CHUNK] for at in range(0, len(recipients), CHUNK)]
        self._chunk_of = {
            recipient.delivery_id: number for number, chunk in enumerate(self._chunks) for recipient in chunk
        }
        self._made: dict[int, asyncio.Future[Mapping[int, WireContent | Outcome]]] = {}
        if not content.is_quick:
            self._begin(0)

    async def of(self, recipient: Recipient) -> WireContent | Outcome:
        """The recipient's copy; a deferral when a fault of ours kept it from being made."""
        if self._content.is_quick:
            return self._make_one(recipient)
        number = self._chunk_of[recipient.delivery_id]
        self._begin(number)
        self._begin(number + 1)
        made = self._made[number]
        return (made.result() if made.done() else await asyncio.shield(made))[recipient.delivery_id]

    def _begin(self, number: int) -> None:
        if number < len(self._chunks) and number not in self._made:
            loop = asyncio.get_running_loop()
            self._made[number] = loop.run_in_executor(self._pool, self._make, self._chunks[number])

    def _make(self, recipients: Sequence[Recipient]) -> Mapping[int, WireContent | Outcome]:
        return {recipient.delivery_id: self._make_one(recipient) for recipient in recipients}

    def _make_one(self, recipient: Recipient) -> WireContent | Outcome:
        try:
            return self._content.copy(recipient)
        except Exception as error:  # noqa: BLE001
            # As an outcome it is seen and tried again, and the neighbours have their copies.
            _log.exception("copy not made", delivery=recipient.delivery_id)
            return Outcome(OutcomeKind.DEFERRED, f"4.3.0 the copy could not be made: {type(error).__name__}")
