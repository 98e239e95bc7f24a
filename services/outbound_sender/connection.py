"""One connection to a next hop, and the pipelined transaction on it (RFC 5321 §3.3, RFC 2920)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from services.outbound_sender.bandwidth import Bandwidth
from services.outbound_sender.envelope import MAX_RECIPIENTS, EnvelopeAnswers
from services.outbound_sender.reply_stream import ReplyStream, StreamEnded
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import Reply

#: The content is written in blocks, so that what a slow peer has not taken yet is bounded, and each has its timer.
BLOCK_BYTES = 262_144

_LONE_DOT = b".\r\n"
_END_OF_CONTENT = b"\r\n.\r\n"

#: What could end the path or the command line early. Legal in a quoted local part are some of these, but there are
#: servers that cut a path at its first `>` or space, and what follows then counts as theirs.
_UNSAFE_IN_A_PATH = re.compile(r"[\x00-\x20\x7f<>]")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take, by RFC 5321 §4.5.3.2 where it names the step."""

    connect_seconds: float = 30
    #: The greeting, and the reply to each command.
    command_seconds: float = 300
    tls_seconds: float = 60
    block_seconds: float = 180
    final_dot_seconds: float = 600
    quit_seconds: float = 5


class Connection:
    """Sends one transaction after the other; whatever the peer does comes back as `Outcome`s.

    After each, `is_usable` says whether the connection may be kept for the next. Not to be shared by two tasks.
    """

    def __init__(
        self,
        stream: ReplyStream,
        host: str,
        extensions: Mapping[str, str],
        timeouts: Timeouts,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        """Content is written as `bandwidth` grants it, by default at once."""
        self.host = host
        #: What the connection is counted by where connections to one host are limited; of who counts.
        self.hosts: AbstractSet[str] = frozenset()
        #: Transactions begun on this connection.
        self.transactions = 0
        #: How many recipients of one transaction the peer takes, as far as is known.
        self.max_recipients = MAX_RECIPIENTS
        self.takes_8bit = "8bitmime" in extensions
        self.takes_utf8 = "smtputf8" in extensions
        self._stream = stream
        self._timeouts = timeouts
        self._bandwidth = bandwidth or Bandwidth()
        self._pipelining = "pipelining" in extensions
        self._announces_size = "size" in extensions
        #: The peer may still hold a MAIL of ours, and would answer 503 to another (RFC 5321 §4.1.4).
        self._needs_reset = False

    @property
    def is_usable(self) -> bool:
        """False as soon as the peer closed or said anything unasked, such as 421 while the connection was kept."""
        return self._stream.ended_because is None and not self._stream.has_unread

    async def send(
        self,
        return_path: str,
        recipients: Sequence[str],
        content: Sequence[bytes],
        *,
        has_8bit: bool,
        has_utf8_header: bool,
        needs_smtputf8: bool,
        may_start_content: Callable[[], bool],
    ) -> Sequence[Outcome | None]:
        """What one transaction came to for each of 1 to `max_recipients` recipients, in their order.

        `None`, never for all of them: this one is for the next transaction, since the peer takes no more (452 4.5.3).

        `content`, in pieces, is dot-stuffed and ends with CRLF.CRLF; no large piece is copied. `may_start_content` is
        asked right before its first byte. With `has_8bit` it goes out as it is, also where `takes_8bit` is false; with
        `has_utf8_header` SMTPUTF8 is asked for where it is offered. `needs_smtputf8`, for an address beyond ASCII, is
        refused elsewhere.

        A recipient that could end its command early is refused before anything is written, and the others are for the
        next transaction; a return path or a content like that is our own fault, and raises `ValueError`.
        """
        if not _is_safe(return_path, needs_smtputf8) or not _is_ended(content):
            raise ValueError(f"content without its end, or not a return path: {return_path!r}")
        for recipient in recipients:
            if not recipient or not _is_safe(recipient, needs_smtputf8):
                refusal = self._outcome(OutcomeKind.REFUSED, "5.1.3 not an address that can be sent")
                return [refusal if other == recipient else None for other in recipients]
        if needs_smtputf8 and not self.takes_utf8:
            because = "5.6.7 the remote does not take addresses beyond ASCII (SMTPUTF8)"
            return (self._outcome(OutcomeKind.REFUSED, because),) * len(recipients)
        parameters = f" SIZE={sum(map(len, content)) - len(_LONE_DOT)}" if self._announces_size else ""
        if has_8bit and self.takes_8bit:
            parameters += " BODY=8BITMIME"
        if needs_smtputf8 or (has_utf8_header and self.takes_utf8):
            parameters += " SMTPUTF8"
        self.transactions += 1
        try:
            answers = await self._envelope(f"MAIL FROM:<{return_path}>{parameters}\r\n", recipients)
            if answers is None:
                return (await self._content(content, may_start_content),) * len(recipients)
            if answers.failure or not answers.accepted:
                return answers.outcomes(None)
            if answers.has_too_many:
                self.max_recipients = len(answers.accepted)
            return answers.outcomes(await self._content(content, may_start_content))
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

    async def _envelope(self, mail: str, recipients: Sequence[str]) -> EnvelopeAnswers | None:
        """What the peer said to each command; `None` for what it says nearly always: everybody is accepted."""
        stream = self._stream
        if not self.is_usable:
            answers = EnvelopeAnswers(len(recipients), self.host)
            answers.failure = self._ended("between two transactions")
            return answers
        commands = [mail, *[f"RCPT TO:<{recipient}>\r\n" for recipient in recipients], "DATA\r\n"]
        if self._needs_reset:
            commands.insert(0, "RSET\r\n")
        self._needs_reset = True
        if self._pipelining:
            stream.write("".join(commands).encode())
            await stream.something(self._timeouts.command_seconds)
            codes = [reply.code for reply in stream.unread]
            if codes == [250] * (len(commands) - 1) + [354] and not stream.is_inside_a_reply:
                stream.unread.clear()
                return None
        return await self._answers(commands, EnvelopeAnswers(len(recipients), self.host))

    async def _answers(self, commands: Sequence[str], answers: EnvelopeAnswers) -> EnvelopeAnswers:
        """Reads every reply up to the one to DATA, however the peer mixes them."""
        for command in commands:
            step = command[:4]
            is_for_nobody = answers.is_final_before(step)
            if not self._pipelining:
                if is_for_nobody:
                    break
                self._stream.write(command.encode())
            try:
                reply = await self._stream.reply(self._timeouts.command_seconds)
            except StreamEnded as ended:
                answers.end(f"{ended} before the reply to {step}")
                break
            answers.hear(step, reply)
            if answers.is_out_of_step or reply.code == 421:
                self.abort()
                break
            if is_for_nobody and step == "DATA" and reply.code == 354:
                await self._end_without_content()
        if answers.accepted and not answers.failure and self._stream.has_unread:
            self.abort()
            answers.end("more replies than commands")
        return answers

    async def _content(self, content: Sequence[bytes], may_start_content: Callable[[], bool]) -> Outcome:
        if not may_start_content():
            self.abort()
            return self._outcome(OutcomeKind.DEFERRED, "stopped before the content")
        size_bytes = sum(map(len, content))
        if self._bandwidth.chunk_bytes is None and size_bytes <= BLOCK_BYTES:
            self._stream.write_all(content)
            self._bandwidth.written_bytes += size_bytes
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
            return Outcome(OutcomeKind.DELIVERED, "accepted", reply, self.host)
        if reply.code == 421:
            self.abort()
        if not (reply.is_transient or reply.is_permanent):
            self.abort()
            return self._outcome(OutcomeKind.UNKNOWN, "a reply to the content that means nothing", reply)
        kind = OutcomeKind.DEFERRED if reply.is_transient else OutcomeKind.REFUSED
        return self._outcome(kind, f"{reply.code} to the content", reply)

    async def _blocks(self, content: Sequence[bytes]) -> Outcome | None:
        """Writes all of it, each block when the bandwidth grants it and the peer has taken the one before; else says
        what came in between."""
        for piece in content:
            failure = await self._piece(memoryview(piece))
            if failure:
                return failure
        return None

    async def _piece(self, content: memoryview) -> Outcome | None:
        start = 0
        while start < len(content):
            self._stream.keep_unsent(self._bandwidth.chunk_bytes)
            await self._stream.room(self._timeouts.block_seconds)
            granted = await self._bandwidth.grant(min(BLOCK_BYTES, len(content) - start))
            if not self.is_usable:
                # The final dot was not written, so the peer cannot have taken the message.
                return self._ended("within the content")
            self._stream.write(content[start : start + granted])
            start += granted
        return None

    def _ended(self, where: str) -> Outcome:
        """The outcome when the peer closed or spoke where it had nothing to say, before the final dot."""
        reply = self._stream.unread.pop(0) if self._stream.unread else None
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

    def _outcome(self, kind: OutcomeKind, because: str, reply: Reply | None = None) -> Outcome:
        return Outcome(kind, because, reply, self.host)


def _is_ended(content: Sequence[bytes]) -> bool:
    return b"".join([piece[-len(_END_OF_CONTENT) :] for piece in content[-2:]]).endswith(_END_OF_CONTENT)


def _is_safe(address: str, may_be_utf8: bool) -> bool:
    return not _UNSAFE_IN_A_PATH.search(address) and (may_be_utf8 or address.isascii())
