"""What goes over the wire for a mailing: compiled once, kept while it is used, within bounds."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from shared.core.delivery import Outcome, OutcomeKind
from shared.core.mailing import MailingKind
from shared.core.membership import PostingPolicy
from shared.mail.headers import has_utf8_header
from shared.mail.lines import dot_stuff, with_crlf
from shared.mail.seven_bit import NotConvertible, to_seven_bit
from shared.mail.template import ListHeaders, UnreadablePost, compile_post
from shared.store.mailings import MailingContent

_log = structlog.get_logger(__name__)

#: Compiled content that a node keeps, in bytes; one mailing is kept however large it is.
CACHE_BYTES = 64 * 1024 * 1024
CACHE_MAILINGS = 100


@dataclass(frozen=True, slots=True)
class WireContent:
    """A compiled message: dot-stuffed, with the final dot, the same bytes for every recipient."""

    content: bytes
    has_8bit: bool
    #: The domain of the return paths.
    return_domain: str
    #: A header field is beyond ASCII, as only a server with SMTPUTF8 may get it (RFC 6531 §3.4). Old programs' letters
    #: of other character sets are no UTF-8, and nothing that any extension is about.
    needs_smtputf8: bool = False
    #: One return path for all recipients, who may then share a transaction; `None`: each has one of its own.
    shared_return_path: str | None = None


class Renderer:
    """Compiles mailings in a thread, each once, and keeps the latest used."""

    def __init__(self, load: Callable[[int], Awaitable[MailingContent]]) -> None:
        self._load = load
        #: By mailing, and whether in seven bits.
        self._compiled: OrderedDict[tuple[int, bool], asyncio.Task[WireContent | Outcome]] = OrderedDict()

    async def content(self, mailing_id: int, *, seven_bit: bool = False) -> WireContent | Outcome:
        """The mailing's content, or what it comes to for everybody when there is none; raises what `load` raises.

        With `seven_bit` as a server without 8BITMIME takes it.
        """
        key = mailing_id, seven_bit
        task = self._compiled.get(key)
        if task is None:
            task = asyncio.create_task(self._compile(mailing_id, seven_bit))
            self._compiled[key] = task
        self._compiled.move_to_end(key)
        try:
            return await asyncio.shield(task)
        except Exception:
            self._compiled.pop(key, None)
            raise
        finally:
            self._shrink()

    async def _compile(self, mailing_id: int, seven_bit: bool) -> WireContent | Outcome:
        mailing = await self._load(mailing_id)
        try:
            return await asyncio.to_thread(compile_mailing, mailing, seven_bit=seven_bit)
        except UnreadablePost as error:
            return Outcome(OutcomeKind.REFUSED, f"5.6.0 {error}")
        except NotConvertible as error:
            return Outcome(OutcomeKind.REFUSED, f"5.6.3 the remote takes 7 bits only (no 8BITMIME): {error}")
        except Exception as error:  # noqa: BLE001
            # A fault of ours. As an outcome it is seen and tried again; raised, it would come back with every claim.
            _log.exception("message not compiled", mailing=mailing_id)
            return Outcome(OutcomeKind.DEFERRED, f"4.3.0 the message could not be compiled: {type(error).__name__}")

    def _shrink(self) -> None:
        sizes = {key: _size_bytes(task) for key, task in self._compiled.items()}
        while len(sizes) > 1 and (sum(sizes.values()) > CACHE_BYTES or len(sizes) > CACHE_MAILINGS):
            oldest = next(iter(sizes))
            del sizes[oldest], self._compiled[oldest]


def _size_bytes(task: asyncio.Task[WireContent | Outcome]) -> int:
    if not task.done() or task.cancelled() or task.exception():
        return 0
    compiled = task.result()
    return len(compiled.content) if isinstance(compiled, WireContent) else 0


def compile_mailing(mailing: MailingContent, *, seven_bit: bool = False) -> WireContent:
    """The content of a post with its list's headers, or of a forwarded message as it is; with `seven_bit` re-encoded,
    or `NotConvertible`."""
    content = with_crlf(mailing.content)
    if mailing.kind is MailingKind.POST and mailing.list_name and mailing.list_domain:
        headers = ListHeaders(
            name=mailing.list_name,
            domain=mailing.list_domain,
            display_name=mailing.list_display_name,
            is_announcement=mailing.posting_policy is PostingPolicy.ANNOUNCEMENT,
        )
        content = compile_post(
            content,
            headers,
            message_id=f"<{mailing.message_uuid}@{mailing.list_domain}>",
            received_at=mailing.received_at,
        )
    if seven_bit:
        content = to_seven_bit(content)
    return WireContent(
        dot_stuff(content),
        has_8bit=not seven_bit and not content.isascii(),
        return_domain=mailing.return_domain,
        needs_smtputf8=has_utf8_header(content),
    )
