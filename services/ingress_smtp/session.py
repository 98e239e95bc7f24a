"""One SMTP session (RFC 5321): where a message enters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from services.ingress_smtp.admission import Admission
from services.ingress_smtp.commands import Sender, read_mail, read_rcpt
from services.ingress_smtp.connection import STOPPING, ConnectionTerms, SmtpConnection
from services.ingress_smtp.content import ENDLESS, NO_ROOM, EndlessContent, read_content
from services.ingress_smtp.crowd import Place
from services.ingress_smtp.intake import Submission
from services.ingress_smtp.limits import DataBudget, DataShare
from services.ingress_smtp.routing import Directory, Route, route
from services.ingress_smtp.trace import Client
from shared.core.smtp_reply import Reply
from shared.mail.words import clean
from shared.store.engine import StoreUnavailable

TOO_MANY_RECIPIENTS = Reply(452, "4.5.3 Too many recipients for one message, please send the others with the next")
TOO_MANY_MESSAGES = Reply(451, "4.3.2 Too many messages, please try again later")
_DISPLACED = Reply(421, "4.3.2 Too many sessions, and this one does not get on; please try again later")
_BAD_SEQUENCE = Reply(503, "5.5.1 This command does not fit here")

#: How long looking up a recipient may take.
LOOKUP_TIMEOUT_SECONDS = 10.0


class TakesMessages(Protocol):
    """Who takes a message over after the final dot."""

    async def take(self, submission: Submission) -> Reply:
        """The reply to the final dot; the submission's share of the budget is given back by then."""


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What all sessions of a node share."""

    connection: ConnectionTerms
    intake: TakesMessages
    directory: Directory
    budget: DataBudget
    admission: Admission
    secret: bytes
    max_message_bytes: int
    max_recipients: int


@dataclass(slots=True)
class _Transaction:
    """A mail transaction between MAIL and the final dot."""

    sender: Sender
    routes: dict[str, Route] = field(default_factory=dict)


class SmtpSession(SmtpConnection):
    """The commands that carry mail. Without a place, it is a proxy's, and gets one when the client is known."""

    def __init__(
        self,
        terms: SessionTerms,
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[SmtpSession], None],
        place: Place | None,
    ) -> None:
        super().__init__(terms.connection, loop, on_end, self._admit if place is None else None)
        self._terms = terms
        self._place: Place | None = None
        if place is not None:
            self._take(place)
        self._transaction: _Transaction | None = None
        self._has_named_sender = False
        self._recipients_named = 0
        self._is_stopping = False
        self._is_in_data = False

    def stop(self) -> None:
        """Say goodbye between two messages; a message whose content is on its way is taken first."""
        self._is_stopping = True
        if not self._is_in_data:
            self.say_goodbye(STOPPING)

    def stop_if_idle(self) -> None:
        """Say goodbye to a client that was not heard of for a while; one that sends content has its time."""
        if not self._is_in_data and self.is_idle_in_a_crowd:
            self.end_idle()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        place, self._place = self._place, None
        if place is not None:
            self._terms.admission.leave(place)

    # Commands

    def _set_post_data_state(self) -> None:
        # The library's name for it; it calls this at RSET, HELO and STARTTLS.
        self._forget_transaction()

    async def smtp_EHLO(self, hostname: str | None) -> None:  # noqa: N802
        if not hostname:
            await self.push("501 5.5.4 Syntax: EHLO hostname")
            return
        self._forget_transaction()
        session = self.current_session()
        if session.host_name is None:
            self._get_on()
        session.extended_smtp, session.host_name = True, hostname
        extensions = ["PIPELINING", f"SIZE {self._terms.max_message_bytes}", "8BITMIME", "SMTPUTF8"]
        if self._terms.connection.tls is not None and session.ssl is None:
            extensions.append("STARTTLS")
        lines = [self._terms.connection.hostname, *extensions]
        await self.push("\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]))

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        if await self.check_helo_needed():
            return
        if self._transaction is not None:
            await self._answer(_BAD_SEQUENCE)
            return
        sender = read_mail(arg, self._terms.max_message_bytes)
        if isinstance(sender, Reply):
            await self._answer(sender)
            return
        self._transaction = _Transaction(sender)
        if not self._has_named_sender:
            self._has_named_sender = True
            self._get_on()
        await self._answer(Reply(250, "2.1.0 Sender noted"))

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        transaction = self._transaction
        if transaction is None:
            await self._answer(_BAD_SEQUENCE)
            return
        if len(transaction.routes) >= self._terms.max_recipients:
            await self._answer(TOO_MANY_RECIPIENTS)
            return
        recipient = read_rcpt(arg, is_smtputf8=transaction.sender.needs_smtputf8)
        found = recipient if isinstance(recipient, Reply) else await self._look_up(recipient)
        if isinstance(found, Reply):
            await self._answer(found)
            return
        transaction.routes[found.address] = found
        if self._recipients_named < self._terms.max_recipients:
            self._recipients_named += 1
            self._get_on()
        await self._answer(Reply(250, "2.1.5 Recipient noted"))

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        transaction = self._transaction
        if transaction is None or arg:
            await self._answer(_BAD_SEQUENCE)
            return
        if not transaction.routes:
            await self._answer(Reply(554, "5.5.1 No valid recipients"))
            return
        if not self._terms.budget.has_room(transaction.sender.size_bytes):
            self._forget_transaction()
            await self._answer(NO_ROOM)
            return
        if self._place is not None:
            self._terms.admission.keep(self._place)
        if not await self._terms.admission.turn():
            self._forget_transaction()
            await self._answer(TOO_MANY_MESSAGES)
            return
        self._is_in_data = True
        await self._answer(await self._take_message(transaction))
        self._is_in_data = False
        if self._is_stopping:
            self.say_goodbye(STOPPING)

    async def smtp_VRFY(self, arg: str | None) -> None:  # noqa: N802
        await self.push("252 2.5.0 Send the message and see" if arg else "501 5.5.4 Syntax: VRFY address")

    async def smtp_EXPN(self, arg: str | None) -> None:  # noqa: ARG002, N802
        await self.push("502 5.5.1 EXPN is not offered")

    # Steps

    def _admit(self, address: str | None) -> Reply | None:
        answer = self._terms.admission.admit(address)
        if isinstance(answer, Reply):
            return answer
        self._take(answer)
        return None

    def _take(self, place: Place) -> None:
        self._place = place
        place.end = partial(self.say_goodbye, _DISPLACED)

    def _get_on(self) -> None:
        """The session did what counts as a step; nothing counts that it may repeat for ever."""
        if self._place is not None:
            self._terms.admission.got_on(self._place)

    def _forget_transaction(self) -> None:
        self._transaction = None

    async def _look_up(self, recipient: str) -> Route | Reply:
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_SECONDS):
                hostname = self._terms.connection.hostname
                return await route(recipient, self._terms.directory, hostname=hostname, secret=self._terms.secret)
        except (StoreUnavailable, TimeoutError):
            return Reply(451, "4.3.0 The recipient cannot be looked up now, please try again later")

    async def _take_message(self, transaction: _Transaction) -> Reply:
        share = self._terms.budget.share()
        try:
            content = await self._read_content(share)
            self._forget_transaction()
            if isinstance(content, Reply):
                return content
            routes = tuple(transaction.routes.values())
            submission = Submission(content, transaction.sender.path, routes, self._client(transaction), share)
        except BaseException:
            share.give_back()
            raise
        # From here on it is intake's, which has a time limit of its own.
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        reply = await self._terms.intake.take(submission)
        self._terms.admission.accepted_count += reply.code == 250
        self._reset_timeout()
        return reply

    async def _read_content(self, share: DataShare) -> bytes | Reply:
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        try:
            return await read_content(self._reader, share, self._terms.max_message_bytes, self._reset_timeout)
        except EndlessContent:
            self.say_goodbye(ENDLESS)
            raise ConnectionResetError("endless content") from None

    def _client(self, transaction: _Transaction) -> Client:
        session = self.current_session()
        base = "UTF8SMTP" if transaction.sender.needs_smtputf8 else "ESMTP" if session.extended_smtp else "SMTP"
        protocol = base + ("S" if session.ssl is not None else "")
        return Client(self.client_address, clean(session.host_name or ""), protocol)

    async def _answer(self, reply: Reply) -> None:
        await self.push(str(reply))
