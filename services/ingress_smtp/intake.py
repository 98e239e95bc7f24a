"""What happens between the final dot and its reply: examine, judge, store, announce."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import uuid4

import structlog

from services.ingress_smtp.examination import Examined, examine
from services.ingress_smtp.judgement import Case, Records, case_of
from services.ingress_smtp.limits import DataShare
from services.ingress_smtp.metrics import MESSAGES
from services.ingress_smtp.routing import Route
from services.ingress_smtp.trace import Client, received_field
from shared.core.address import Address
from shared.core.authorship import Belief
from shared.core.posting.post import Refuse
from shared.core.smtp_reply import Reply
from shared.store.engine import StoreFull, StoreUnavailable
from shared.store.messages import NewMessage, NewTarget

TRY_LATER = Reply(451, "4.3.0 The message could not be stored, please try again later")
NO_ROOM_ON_DISK = Reply(452, "4.3.1 There is no room to store the message, please try again later")
AUTHOR_UNKNOWN_NOW = Reply(451, "4.4.3 The author's domain could not be looked up, please try again later")

#: How long judging, and then storing, may take; clients wait ten minutes (RFC 5321 §4.5.3.2.6).
STORE_TIMEOUT_SECONDS = 20.0
#: A message this small is examined at once; a larger one in a thread.
_SMALL_BYTES = 32 * 1024

log = structlog.get_logger(__name__)


class Store(Records, Protocol):
    """What intake needs of the store. All methods raise `StoreUnavailable`."""

    async def store(self, message: NewMessage) -> None:
        """Keep the message: when this returns, it is committed."""


class Believes(Protocol):
    """Who knows whether the authors wrote a message."""

    async def belief(
        self, content: bytes, authors: tuple[Address, ...], envelope_sender: str, client: Client
    ) -> Belief:
        """Within a minute, and never raises."""


class Announcer(Protocol):
    """Tells the schedulers that there is a message."""

    def announce(self, message: NewMessage) -> None:
        """Return at once and never raise: what is not announced is found by the sweep."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A message with its envelope, as a session took it."""

    content: bytes
    #: The reverse-path; empty for the null sender.
    envelope_sender: str
    #: Distinct recipients.
    routes: tuple[Route, ...]
    client: Client
    #: What the content holds of the node's memory for messages.
    share: DataShare


class Intake:
    """Takes messages over from the sessions."""

    def __init__(
        self,
        store: Store,
        announcer: Announcer,
        authorship: Believes,
        *,
        hostname: str,
        max_message_bytes: int,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._authorship = authorship
        self._hostname = hostname
        self._max_message_bytes = max_message_bytes
        self._now = now
        self._in_hand: set[asyncio.Task[Reply]] = set()

    async def take(self, submission: Submission) -> Reply:
        """The reply to the final dot. With 250 the message is committed; with any other it is not known to be.

        What was begun is finished, even when the session that waits for the reply is gone.
        """
        task = asyncio.create_task(self._take(submission))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)
        return await asyncio.shield(task)

    async def finish(self) -> None:
        """Wait until nothing is in hand any more."""
        while self._in_hand:
            await asyncio.wait(self._in_hand)

    async def _take(self, submission: Submission) -> Reply:
        try:
            reply = await self._examine_and_store(submission)
            MESSAGES.labels(reply.code).inc()
            return reply
        finally:
            submission.share.give_back()

    async def _examine_and_store(self, submission: Submission) -> Reply:
        examined = await _examine(submission)
        if isinstance(examined, Refuse):
            return _refusal(examined, submission)
        try:
            async with asyncio.timeout(STORE_TIMEOUT_SECONDS):
                cases = [
                    await case_of(route, examined, self._store, self._max_message_bytes) for route in submission.routes
                ]
            belief = await self._belief(submission, examined, cases)
            if belief is Belief.UNKNOWN_NOW and any(case.depends_on_author for case in cases):
                return AUTHOR_UNKNOWN_NOW
            verdicts = [case.verdict(belief) for case in cases]
            refusals = [verdict for verdict in verdicts if isinstance(verdict, Refuse)]
            # The reply to DATA cannot tell recipients apart: it refuses when all of them do.
            if len(refusals) == len(cases):
                return _refusal(refusals[0], submission)
            message = self._message(submission, examined, tuple(case.target(examined, belief) for case in cases))
            async with asyncio.timeout(STORE_TIMEOUT_SECONDS):
                await self._store.store(message)
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("message not stored", because=str(error) or "timeout", client=submission.client.address)
            return NO_ROOM_ON_DISK if isinstance(error, StoreFull) else TRY_LATER
        self._announcer.announce(message)
        log.info("message stored", message=str(message.id), size_bytes=len(message.content), targets=len(cases))
        return Reply(250, f"2.0.0 Stored as {message.id}")

    async def _belief(self, submission: Submission, examined: Examined, cases: Sequence[Case]) -> Belief:
        """Whether the authors wrote it, which is asked only where something follows from that."""
        if not any(case.wants_author for case in cases):
            return Belief.UNPROVEN
        return await self._authorship.belief(
            submission.content, examined.post.authors, submission.envelope_sender, submission.client
        )

    def _message(self, submission: Submission, examined: Examined, targets: tuple[NewTarget, ...]) -> NewMessage:
        message_id = uuid4()
        trace = received_field(submission.client, self._hostname, message_id, self._now())
        return NewMessage(
            id=message_id,
            content=trace + submission.content,
            envelope_sender=submission.envelope_sender,
            message_id=examined.message_id,
            subject=examined.subject,
            fingerprint=examined.fingerprint,
            peer=submission.client.address,
            targets=targets,
            came_through_a_list=examined.post.came_through_a_list,
        )


async def _examine(submission: Submission) -> Examined | Refuse:
    lists = [route.posted_to for route in submission.routes if route.posted_to]
    with_attachments = any(posted_to.rules.refused_attachments for posted_to in lists)
    doing = partial(examine, submission.content, submission.envelope_sender, with_attachments=with_attachments)
    return doing() if len(submission.content) <= _SMALL_BYTES else await asyncio.to_thread(doing)


def _refusal(refuse: Refuse, submission: Submission) -> Reply:
    log.info(
        "message refused",
        because=refuse.because,
        client=submission.client.address,
        sender=submission.envelope_sender,
        to=[route.address for route in submission.routes[:3]],
    )
    # RFC 5321 §4.5.3.1.10 has a code of its own for what is too large.
    code = 552 if refuse.enhanced_status == "5.3.4" else 550
    return Reply(code, f"{refuse.enhanced_status} {refuse.because[:1].upper()}{refuse.because[1:]}")
