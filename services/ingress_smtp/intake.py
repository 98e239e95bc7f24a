"""What happens between the final dot and its reply: examine, judge, store, announce."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import uuid4

import structlog

from services.ingress_smtp.examination import Examined, examine
from services.ingress_smtp.limits import DataShare
from services.ingress_smtp.metrics import MESSAGES
from services.ingress_smtp.routing import KnownList, Route
from services.ingress_smtp.trace import Client, received_field
from shared.core.mailing import TargetState
from shared.core.membership import MemberRole, PostingPolicy
from shared.core.posting import judge
from shared.core.posting.post import Refuse, Terms, Verdict
from shared.core.smtp_reply import Reply
from shared.store.engine import StoreUnavailable
from shared.store.messages import NewMessage, NewTarget

TRY_LATER = Reply(451, "4.3.0 The message could not be stored, please try again later")

#: How long judging and storing may take together; clients wait ten minutes (RFC 5321 §4.5.3.2.6).
STORE_TIMEOUT_SECONDS = 20.0
#: A message this small is examined at once; a larger one in a thread.
_SMALL_BYTES = 32 * 1024

_MODERATORS = frozenset({MemberRole.MODERATOR, MemberRole.OWNER})

log = structlog.get_logger(__name__)


class Store(Protocol):
    """What intake needs of the store. Both methods raise `StoreUnavailable`."""

    async def roles(self, list_id: int, email_keys: Sequence[str]) -> Sequence[MemberRole]:
        """The roles of those of the addresses that are members, each once."""

    async def store(self, message: NewMessage) -> None:
        """Keep the message: when this returns, it is committed."""


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
        *,
        hostname: str,
        max_message_bytes: int,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._announcer = announcer
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
            return _refusal(examined)
        try:
            async with asyncio.timeout(STORE_TIMEOUT_SECONDS):
                targets = await self._decide(submission, examined)
                if isinstance(targets, Refuse):
                    return _refusal(targets)
                message = self._message(submission, examined, targets)
                await self._store.store(message)
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("message not stored", because=str(error) or "timeout", client=submission.client.address)
            return TRY_LATER
        self._announcer.announce(message)
        log.info("message stored", message=str(message.id), size_bytes=len(message.content), targets=len(targets))
        return Reply(250, f"2.0.0 Stored as {message.id}")

    async def _decide(self, submission: Submission, examined: Examined) -> tuple[NewTarget, ...] | Refuse:
        """Every recipient's part, or a refusal of the whole: the reply to DATA cannot tell recipients apart."""
        targets: list[NewTarget] = []
        refusals: list[Refuse] = []
        for route in submission.routes:
            verdict = await self._verdict(route, examined)
            if isinstance(verdict, Refuse):
                refusals.append(verdict)
            targets.append(_target(route, verdict))
        if len(refusals) == len(targets):
            return refusals[0]
        return tuple(targets)

    async def _verdict(self, route: Route, examined: Examined) -> Verdict | None:
        if route.posted_to is None:
            return None
        return judge(examined.post, await self._terms(route.posted_to, examined))

    async def _terms(self, posted_to: KnownList, examined: Examined) -> Terms:
        authors = {author.key for author in examined.post.authors}
        roles: Sequence[MemberRole] = ()
        if posted_to.policy is not PostingPolicy.ANYONE and authors:
            roles = await self._store.roles(posted_to.id, sorted(authors))
        is_from_members = bool(authors) and len(roles) == len(authors)
        return Terms(
            address=f"{posted_to.name}@{posted_to.domain}",
            list_id=f"{posted_to.name}.{posted_to.domain}",
            policy=posted_to.policy,
            max_message_bytes=self._max_message_bytes,
            is_from_members=is_from_members,
            is_from_moderators=is_from_members and _MODERATORS.issuperset(roles),
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
        )


async def _examine(submission: Submission) -> Examined | Refuse:
    if len(submission.content) <= _SMALL_BYTES:
        return examine(submission.content, submission.envelope_sender)
    return await asyncio.to_thread(examine, submission.content, submission.envelope_sender)


def _target(route: Route, verdict: Verdict | None) -> NewTarget:
    list_id = route.posted_to.id if route.posted_to else route.list_id
    if isinstance(verdict, Refuse):
        return NewTarget(route.address, route.kind, list_id, TargetState.REFUSED, verdict.because)
    return NewTarget(route.address, route.kind, list_id)


def _refusal(refuse: Refuse) -> Reply:
    return Reply(550, f"{refuse.enhanced_status} {refuse.because[:1].upper()}{refuse.because[1:]}")
