"""What goes over the wire for a mailing: compiled once, kept within bounds while it is used, and signed."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.outbound_sender.copies import Copies, PersonalContent, WireContent
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.links import Links
from shared.core.tracking import TrackedLinks
from shared.core.verp import mailing_return_path_local
from shared.mail.dkim import Canonical, Signer, SigningKey
from shared.mail.headers import has_utf8_header
from shared.mail.segments import Wire
from shared.mail.seven_bit import NotConvertible
from shared.mail.template import UnreadablePost
from shared.mail.tracking import Tracking
from shared.runtime.copies import compile_copies
from shared.store.claims import ClaimedBatch, Recipient
from shared.store.contents import MailingContent
from shared.store.sealing import CannotBeOpened

_log = structlog.get_logger(__name__)

#: Compiled content that a node keeps, in bytes; one mailing is kept however large it is.
CACHE_BYTES = 64 * 1024 * 1024
CACHE_MAILINGS = 100


@dataclass(frozen=True, slots=True)
class CompiledMailing:
    """A mailing before it is signed."""

    wire: Wire
    canonical: Canonical
    return_domain: str
    has_8bit: bool
    has_utf8_header: bool
    #: The `t=` of its signatures: by the database's clock, since a verifier may refuse one from its future.
    loaded_at: datetime
    #: `None`: each delivery has one of its own.
    shared_return_path: str | None
    #: Makes the members' tokens, where copies have them.
    leave_token: Callable[[int], str] | None = None
    own_links: Callable[[int], Mapping[str, str]] | None = None
    #: How copies tell that they are read, where they do.
    tracking: Tracking | None = None

    def signed(self, keys: Sequence[SigningKey]) -> WireContent | PersonalContent:
        """What all recipients get, or what makes each one's copy, with signatures by these keys."""
        signers = tuple(Signer(key, self.canonical, self.loaded_at) for key in keys)
        if self.wire.has_slots:
            return PersonalContent(
                self.wire,
                self.canonical,
                signers,
                self.return_domain,
                self.has_8bit,
                self.has_utf8_header,
                self.leave_token,
                self.own_links,
                self.tracking,
            )
        digests = self.canonical.digests()
        segments = (*(signer.field(digests) for signer in signers), *self.wire.segments())
        return WireContent(segments, self.has_8bit, self.return_domain, self.has_utf8_header, self.shared_return_path)


@dataclass(slots=True)
class _Kept:
    """A mailing in the cache: compiled once, signed once for each set of keys."""

    compiled: asyncio.Task[CompiledMailing | Outcome]
    keys: tuple[SigningKey, ...] = ()
    signed: asyncio.Future[WireContent | PersonalContent] | None = None


class Renderer:
    """Compiles mailings in threads, each once, and keeps the latest used; has their copies signed in a pool."""

    def __init__(
        self,
        load: Callable[[int], Awaitable[MailingContent]],
        keys: Callable[[str], Awaitable[tuple[SigningKey, ...]]],
        *,
        secret: bytes,
        links: Links | None = None,
        tracked_links: TrackedLinks | None = None,
    ) -> None:
        """`keys` gives those in force for a domain, the same objects until they change; `secret` makes return paths;
        `links` and `tracked_links` are those that copies have, where there are pages for them to lead to."""
        self._load = load
        self._keys = keys
        self._secret = secret
        self._links = links
        self._tracked_links = tracked_links
        #: By mailing, and whether in seven bits.
        self._kept: OrderedDict[tuple[int, bool], _Kept] = OrderedDict()
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="signing")

    async def for_batch(self, batch: ClaimedBatch) -> WireContent | Copies | Outcome:
        """What to send to the batch's recipients; raises what `load` and `keys` raise when the store is down."""
        content = await self.content(batch.mailing_id)
        return Copies(content, batch.recipients, self._pool) if isinstance(content, PersonalContent) else content

    async def in_seven_bits(self, mailing_id: int, recipient: Recipient) -> WireContent | Outcome:
        """What a server without 8BITMIME is sent for the recipient; raises what `content` raises."""
        content = await self.content(mailing_id, seven_bit=True)
        if not isinstance(content, PersonalContent):
            return content
        return await Copies(content, [recipient], self._pool).of(recipient)

    async def content(self, mailing_id: int, *, seven_bit: bool = False) -> WireContent | PersonalContent | Outcome:
        """The mailing's content, or what it comes to for everybody when there is none; raises what `load` and `keys`
        raise.

        With `seven_bit` as a server without 8BITMIME takes it.
        """
        key = mailing_id, seven_bit
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(asyncio.create_task(self._compile(mailing_id, seven_bit)))
        self._kept.move_to_end(key)
        try:
            compiled = await asyncio.shield(kept.compiled)
        except Exception:
            self._kept.pop(key, None)
            raise
        finally:
            self._shrink()
        if isinstance(compiled, Outcome):
            if compiled.kind is OutcomeKind.DEFERRED:
                self._kept.pop(key, None)  # a fault of ours may be over when it is tried again
            return compiled
        return await self._signed(kept, compiled)

    async def _signed(self, kept: _Kept, compiled: CompiledMailing) -> WireContent | PersonalContent | Outcome:
        try:
            keys = await self._keys(compiled.return_domain)
        except CannotBeOpened as error:
            _log.error("mail is not signed and waits: was LISTFLEET_SECRET changed?", error=str(error))
            return Outcome(OutcomeKind.DEFERRED, f"4.7.0 the message could not be signed: {error}")
        if kept.signed is None or kept.keys != keys:
            loop = asyncio.get_running_loop()
            kept.keys = keys
            kept.signed = loop.run_in_executor(self._pool, compiled.signed, keys)
        try:
            return await asyncio.shield(kept.signed)
        except Exception as error:  # noqa: BLE001
            kept.signed = None
            _log.exception("message not signed", domain=compiled.return_domain)
            return Outcome(OutcomeKind.DEFERRED, f"4.7.0 the message could not be signed: {type(error).__name__}")

    async def _compile(self, mailing_id: int, seven_bit: bool) -> CompiledMailing | Outcome:
        mailing = await self._load(mailing_id)
        try:
            shared = None if mailing.verp_enabled else mailing_return_path_local(mailing_id, self._secret)
            return await asyncio.to_thread(
                compile_mailing,
                mailing,
                shared,
                links=self._links,
                tracking=Tracking.of(
                    mailing.tracking, self._tracked_links, mailing_id, includes_plain_text=mailing.tracks_plain_text
                ),
                seven_bit=seven_bit,
            )
        except UnreadablePost as error:
            return Outcome(OutcomeKind.REFUSED, f"5.6.0 {error}")
        except NotConvertible as error:
            return Outcome(OutcomeKind.REFUSED, f"5.6.3 the remote takes 7 bits only (no 8BITMIME): {error}")
        except Exception as error:  # noqa: BLE001
            # A fault of ours. As an outcome it is seen and tried again; raised, it would come back with every claim.
            _log.exception("message not compiled", mailing=mailing_id)
            return Outcome(OutcomeKind.DEFERRED, f"4.3.0 the message could not be compiled: {type(error).__name__}")

    def _shrink(self) -> None:
        sizes = {key: _size_bytes(kept.compiled) for key, kept in self._kept.items()}
        while len(sizes) > 1 and (sum(sizes.values()) > CACHE_BYTES or len(sizes) > CACHE_MAILINGS):
            oldest = next(iter(sizes))
            del sizes[oldest], self._kept[oldest]

    def close(self) -> None:
        """End the pool's threads; what nobody waits for any more is not made."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _size_bytes(task: asyncio.Task[CompiledMailing | Outcome]) -> int:
    if not task.done() or task.cancelled() or task.exception():
        return 0
    compiled = task.result()
    return compiled.wire.size_bytes if isinstance(compiled, CompiledMailing) else 0


def compile_mailing(
    mailing: MailingContent,
    return_path_local: str | None = None,
    *,
    links: Links | None = None,
    tracking: Tracking | None = None,
    seven_bit: bool = False,
) -> CompiledMailing:
    """What a mailing's copies are made of; with the local part of the one return path of all its recipients, if they
    have one. With `seven_bit` it is re-encoded, or `NotConvertible`."""
    copies = compile_copies(mailing, links=links, tracking=tracking, seven_bit=seven_bit)
    message = copies.message
    wire = Wire(message)
    return CompiledMailing(
        wire,
        Canonical(message),
        mailing.return_domain,
        has_8bit=wire.has_8bit and not seven_bit,
        has_utf8_header=has_utf8_header(b"".join(field for field in message.fields if isinstance(field, bytes))),
        loaded_at=mailing.loaded_at,
        shared_return_path=None if return_path_local is None else f"{return_path_local}@{mailing.return_domain}",
        leave_token=copies.leave_token,
        own_links=copies.own_links,
        tracking=tracking,
    )
