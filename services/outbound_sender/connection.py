"""One connection to a next hop, and the pipelined transaction on it (RFC 5321 §3.3, RFC 2920)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.outbound_sender.reply_stream import ReplyStream, StreamEnded
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import Reply

#: The content is written in blocks, so that what a slow peer has not taken yet is bounded, and each has its timer.
BLOCK_BYTES = 262_144

_DATA = b"DATA\r\n"
_RSET = b"RSET\r\n"
_LONE_DOT = b".\r\n"
_END_OF_CONTENT = b"\r\n.\r\n"

#: What could end the path or the command line early. Legal in a quoted local part are some of these, but there are
#: servers that cut a path at its first `>` or space, and what follows then counts as theirs.
_UNSAFE_IN_A_PATH = re.compile(r"[\x00-\x20\x7f<>]")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take: RFC 5321 §4.5.3.2, where it names the step."""

    connect_seconds: float = 30
    banner_seconds: float = 300
    ehlo_seconds: float = 300
    tls_seconds: float = 60
    mail_seconds: float = 300
    rcpt_seconds: float = 300
    data_seconds: float = 120
    block_seconds: float = 180
    final_dot_seconds: float = 600
    quit_seconds: float = 5


class Connection:
    """Sends one transaction after the other; whatever the peer does comes back as an `Outcome`.

    After each, `is_usable` says whether the connection may be kept for the next. Not to be shared by two tasks.
    """

    def __init__(self, stream: ReplyStream, host: str, extensions: Mapping[str, str], timeouts: Timeouts) -> None:
        self.host = host
        #: Transactions begun on this connection.
        self.transactions = 0
        self._stream = stream
        self._timeouts = timeouts
        self._pipelining = "pipelining" in extensions
        self._announces_size = "size" in extensions
        self._takes_8bit = "8bitmime" in extensions
        self._takes_utf8 = "smtputf8" in extensions
        #: The peer may still hold a MAIL of ours, and would answer 503 to another (RFC 5321 §4.1.4).
        self._needs_reset = False

    @property
    def is_usable(self) -> bool:
        """False as soon as the peer closed or said anything unasked, such as 421 while the connection was kept."""
        return self._stream.ended_because is None and not self._stream.has_unread

    async def send(
        self,
        return_path: str,
        recipient: str,
        content: Sequence[bytes],
        *,
        has_8bit: bool,
        needs_smtputf8: bool,
        may_start_content: Callable[[], bool],
    ) -> Outcome:
        """What the transaction came to.

        `content`, in pieces, is dot-stuffed and ends with CRLF.CRLF; no large piece is copied. `may_start_content` is
        asked right before its first byte. Content with 8-bit bytes goes out as it is where 8BITMIME is not offered. A
        recipient that could end its command early is refused before anything is written; a return path or a content
        like that is our own fault, and raises `ValueError`.
        """
        if not _is_safe(return_path, needs_smtputf8) or not _is_ended(content):
            raise ValueError(f"content without its end, or not a return path: {return_path!r}")
        if not recipient or not _is_safe(recipient, needs_smtputf8):
            return self._outcome(OutcomeKind.REFUSED, "5.1.3 not an address that can be sent")
        if needs_smtputf8 and not self._takes_utf8:
            return self._outcome(
                OutcomeKind.REFUSED, "5.6.7 the remote does not take addresses beyond ASCII (SMTPUTF8)"
            )
        mail, rcpt = b"MAIL FROM:<%b>" % return_path.encode(), b"RCPT TO:<%b>\r\n" % recipient.encode()
        if self._announces_size:
            mail += b" SIZE=%d" % (sum(map(len, content)) - len(_LONE_DOT))
        if has_8bit and self._takes_8bit:
            mail += b" BODY=8BITMIME"
        if needs_smtputf8:
            mail += b" SMTPUTF8"
        self.transactions += 1
        try:
            refusal = await self._envelope(mail + b"\r\n", rcpt)
            return refusal or await self._content(content, may_start_content)
        except BaseException:
            # Cancelled half-way: where the peer stands is unknown, so nothing may follow on this connection.
            self.abort()
            raise

    async def quit(self) -> None:
        """Says QUIT if the peer still listens, waits shortly for its reply, and closes."""
        try:
            if self.is_usable:
                self._stream.write(b"QUIT\r\n")
                with suppress(StreamEnded):
                    await self._stream.reply(self._timeouts.quit_seconds)
        finally:
            self.abort()

    def abort(self) -> None:
        """Closes at once."""
        self._stream.end("closed by us")

    async def _envelope(self, mail: bytes, rcpt: bytes) -> Outcome | None:
        """`None` when the peer waits for content; else every reply has been read and the outcome is final."""
        if not self.is_usable:
            return await self._ended("between two transactions")
        steps = [("MAIL", mail, self._timeouts.mail_seconds), ("RCPT", rcpt, self._timeouts.rcpt_seconds)]
        steps.append(("DATA", _DATA, self._timeouts.data_seconds))
        if self._needs_reset:
            steps.insert(0, ("RSET", _RSET, self._timeouts.mail_seconds))
        if self._pipelining:
            self._stream.write(b"".join([command for _, command, _ in steps]))
        self._needs_reset = True
        refusal: Outcome | None = None
        for step, command, timeout_seconds in steps:
            if not self._pipelining:
                if refusal:
                    break
                self._stream.write(command)
            try:
                reply = await self._stream.reply(timeout_seconds)
            except StreamEnded as ended:
                # A refusal that was read before the connection went stands.
                return refusal or self._outcome(OutcomeKind.DEFERRED, f"{ended} before the reply to {step}")
            if reply.code == 421:
                self.abort()
                return refusal or self._outcome(OutcomeKind.DEFERRED, f"421 to {step}", reply)
            if refusal:
                # The commands after the refused one are answered too, mostly 503; but DATA may get 354 (RFC 2920 §3.1).
                if step == "DATA" and reply.code == 354:
                    await self._end_without_content()
            elif not (reply.code == 354 if step == "DATA" else reply.is_positive):
                refusal = self._declined(step, reply)
        if refusal is None and self._stream.has_unread:
            self.abort()
            return self._outcome(OutcomeKind.DEFERRED, "more replies than commands")
        return refusal

    async def _content(self, content: Sequence[bytes], may_start_content: Callable[[], bool]) -> Outcome:
        if not may_start_content():
            self.abort()
            return self._outcome(OutcomeKind.DEFERRED, "lease stale")
        if sum(map(len, content)) <= BLOCK_BYTES:
            self._stream.write_all(content)
        else:
            failure = await self._blocks(content)
            if failure:
                return failure
        try:
            reply = await self._stream.reply(self._timeouts.final_dot_seconds)
        except StreamEnded as ended:
            return self._outcome(OutcomeKind.UNKNOWN, f"{ended} before the reply to the content")
        self._needs_reset = False
        if reply.is_positive:
            return self._outcome(OutcomeKind.DELIVERED, "accepted", reply)
        if reply.code == 421:
            self.abort()
        if not (reply.is_transient or reply.is_permanent):
            self.abort()
            return self._outcome(OutcomeKind.UNKNOWN, "a reply to the content that means nothing", reply)
        return self._declined("the content", reply)

    async def _blocks(self, content: Sequence[bytes]) -> Outcome | None:
        """Writes all blocks; `None` when the last one, with the final dot, was handed over."""
        blocks = (
            memoryview(piece)[at : at + BLOCK_BYTES] for piece in content for at in range(0, len(piece), BLOCK_BYTES)
        )
        for block in blocks:
            await self._stream.room(self._timeouts.block_seconds)
            if not self.is_usable:
                # The final dot was not written, so the peer cannot have taken the message.
                return await self._ended("within the content")
            self._stream.write(block)
        return None

    async def _ended(self, where: str) -> Outcome:
        """The outcome when the peer closed or spoke where it had nothing to say, before the final dot."""
        reply = await self._stream.reply(0) if self._stream.has_reply else None
        because = self._stream.ended_because or "a reply that was not asked for"
        self.abort()
        if reply and where == "within the content" and reply.is_permanent:
            return self._outcome(OutcomeKind.REFUSED, f"{reply.code} {where}", reply)
        return self._outcome(OutcomeKind.DEFERRED, f"{because} {where}", reply)

    async def _end_without_content(self) -> None:
        """Leaves the data mode that a peer entered with nobody to deliver to; its reply says nothing to us."""
        self._stream.write(_LONE_DOT)
        with suppress(StreamEnded):
            await self._stream.reply(self._timeouts.final_dot_seconds)

    def _declined(self, step: str, reply: Reply) -> Outcome:
        if step == "RSET" or not (reply.is_transient or reply.is_permanent):
            # Neither says anything about the recipient, but the two of us no longer agree where we stand.
            self.abort()
            return self._outcome(OutcomeKind.DEFERRED, f"{reply.code} to {step}", reply)
        kind = OutcomeKind.DEFERRED if reply.is_transient else OutcomeKind.REFUSED
        return self._outcome(kind, f"{reply.code} to {step}", reply)

    def _outcome(self, kind: OutcomeKind, because: str, reply: Reply | None = None) -> Outcome:
        return Outcome(kind, because, reply, self.host)


def _is_ended(content: Sequence[bytes]) -> bool:
    return b"".join([piece[-len(_END_OF_CONTENT) :] for piece in content[-2:]]).endswith(_END_OF_CONTENT)


def _is_safe(address: str, may_be_utf8: bool) -> bool:
    return not _UNSAFE_IN_A_PATH.search(address) and (may_be_utf8 or address.isascii())
