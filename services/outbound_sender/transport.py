"""From a host to a connection that waits for MAIL: TCP, greeting, EHLO, STARTTLS, AUTH."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import aiosmtplib

from services.outbound_sender.bandwidth import Bandwidth
from services.outbound_sender.connection import Connection, Timeouts
from services.outbound_sender.dead_hosts import DeadHosts
from services.outbound_sender.dialing import dial
from services.outbound_sender.reply_stream import ReplyStream
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import Reply, clean_text


@dataclass(frozen=True, slots=True)
class Target:
    """One host."""

    #: The name that is shown, sent as TLS server name, and looked for in certificates that are checked.
    host: str
    #: Its IP addresses, in the order to try.
    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Encryption:
    """STARTTLS is used where it is offered; with `is_required`, nothing is sent without."""

    context: ssl.SSLContext
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """What a relay knows us by (RFC 4954)."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """How this node presents itself, and what it demands of a host."""

    #: How the node names itself in EHLO.
    hostname: str
    timeouts: Timeouts
    #: `None`: never.
    encryption: Encryption | None = None
    login: Login | None = None
    #: The address of ours to connect from, empty for the system's choice, `None` when there is none.
    source_for: Callable[[str], str | None] = lambda _address: ""
    #: By the loop's clock: after that no further address is tried, however many there are.
    last_try_at_seconds: float = float("inf")
    #: What grants the bytes of content; `None`: all at once.
    bandwidth: Bandwidth | None = None


class _TlsFailed(Exception):
    """The handshake broke the connection: nothing more can be said on it."""


class _Unfit(Exception):
    """The host does not offer what is demanded."""


@dataclass(frozen=True, slots=True)
class _Failure:
    outcome: Outcome
    #: Whatever listens there, it is no mail server now.
    is_dead: bool = False


def opportunistic_tls() -> ssl.SSLContext:
    """TLS with whatever certificate the peer has: against listeners, not against impostors (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def connect(target: Target, terms: Terms, dead_hosts: DeadHosts) -> Connection | Outcome:
    """A connection ready for its first transaction, or why there is none: always a deferral.

    The addresses are tried until one gives service; one where nobody answers is added to `dead_hosts`, but for
    faults of this node.

    Opportunistic STARTTLS: a peer that answers it with 4yz or 5yz is talked to in the clear on the same connection
    (RFC 3207 §4), one whose handshake breaks on a new one.

    A refusal in the greeting or to EHLO, 5yz included, is no refusal of the recipient: it says that this host gives us
    no service (RFC 5321 §3.1, §4.2.3), mostly for our address. Another host, or another node, may be welcome.
    """
    sources = {address: source for address in target.addresses if (source := terms.source_for(address)) is not None}
    failure = _deferred(target, "none of this node's source addresses can be used")
    now_seconds = asyncio.get_running_loop().time
    while sources:
        dialled = await dial(sources, target.port, timeout_seconds=terms.timeouts.connect_seconds)
        for address, because in dialled.failures.items():
            if address not in dialled.unasked:
                dead_hosts.add(address, because)
            failure = _deferred(target, because)
        if dialled.socket is None:
            return failure
        opened = await _open_or_why_not(dialled.socket, {dialled.address: sources[dialled.address]}, target, terms)
        if isinstance(opened, Connection):
            dead_hosts.discard(dialled.address)
            return opened
        failure = opened.outcome
        if opened.is_dead:
            dead_hosts.add(dialled.address, failure.because)
        if now_seconds() > terms.last_try_at_seconds:
            return failure
        tried = {dialled.address, *dialled.failures}
        sources = {address: source for address, source in sources.items() if address not in tried}
    return failure


async def _open_or_why_not(
    sock: socket.socket, source: Mapping[str, str], target: Target, terms: Terms
) -> Connection | _Failure:
    try:
        try:
            return await _open(sock, target, terms, terms.encryption)
        except _TlsFailed as exc:
            if terms.encryption is None or terms.encryption.is_required:
                raise _Unfit(f"TLS is required and failed: {clean_text(str(exc))}") from exc
            again = await dial(source, target.port, timeout_seconds=terms.timeouts.connect_seconds)
            if again.socket is None:
                [because] = again.failures.values()
                return _Failure(_deferred(target, because))
            return await _open(again.socket, target, terms, None)
    except _Unfit as exc:
        return _Failure(_deferred(target, str(exc)))
    except aiosmtplib.SMTPResponseException as exc:
        words = clean_text(exc.message.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        if not 200 <= exc.code < 600:  # aiosmtplib has -1 for what is no reply at all
            return _Failure(_deferred(target, f"no SMTP before MAIL: {words.strip()}"), is_dead=True)
        return _Failure(_deferred(target, "refused before MAIL", Reply(exc.code, words)))
    except aiosmtplib.SMTPTimeoutError:
        return _Failure(_deferred(target, "no answer in time before MAIL"), is_dead=True)
    except (aiosmtplib.SMTPException, OSError):
        return _Failure(_deferred(target, "connection lost before MAIL"), is_dead=True)


async def _open(sock: socket.socket, target: Target, terms: Terms, encryption: Encryption | None) -> Connection:
    timeout_seconds = terms.timeouts.command_seconds
    smtp = aiosmtplib.SMTP(
        hostname=None, sock=sock, local_hostname=terms.hostname, start_tls=False, timeout=timeout_seconds
    )
    try:
        await smtp.connect()
        await _greet(smtp, terms.hostname, timeout_seconds)
        if encryption is not None:
            await _start_tls(smtp, target, terms, encryption)
            if not smtp.last_ehlo_response:
                await _greet(smtp, terms.hostname, timeout_seconds)
        if terms.login is not None:
            if not smtp.supported_auth_methods:
                raise _Unfit("a password is set, and AUTH was not offered")
            await smtp.login(terms.login.user, terms.login.password, timeout=timeout_seconds)
        if smtp.transport is None:
            raise aiosmtplib.SMTPServerDisconnected("closed after EHLO")
        # From here aiosmtplib knows nothing of the connection. (uvloop's transports do not inherit from asyncio's.)
        stream = ReplyStream(cast("asyncio.Transport", smtp.transport))
        return Connection(stream, target.host, dict(smtp.esmtp_extensions), terms.timeouts, terms.bandwidth)
    except BaseException:
        smtp.close()
        raise


async def _greet(smtp: aiosmtplib.SMTP, hostname: str, timeout_seconds: float) -> None:
    try:
        await smtp.ehlo(hostname=hostname, timeout=timeout_seconds)
    except aiosmtplib.SMTPHeloError as exc:
        # RFC 5321 §3.2: a server that does not know EHLO may know HELO. Then it has no extensions.
        if not 500 <= exc.code < 600:
            raise
        await smtp.helo(hostname=hostname, timeout=timeout_seconds)


async def _start_tls(smtp: aiosmtplib.SMTP, target: Target, terms: Terms, encryption: Encryption) -> None:
    if not smtp.supports_extension("starttls"):
        if encryption.is_required:
            raise _Unfit("TLS is required and was not offered")
        return
    try:
        await smtp.starttls(
            server_hostname=target.host, tls_context=encryption.context, timeout=terms.timeouts.tls_seconds
        )
    except aiosmtplib.SMTPResponseException as exc:
        if encryption.is_required or exc.code == 421 or not 400 <= exc.code < 600:
            raise
    except (aiosmtplib.SMTPException, OSError, ValueError) as exc:  # ValueError: a host that is no TLS server name
        raise _TlsFailed(exc) from exc


def _deferred(target: Target, because: str, reply: Reply | None = None) -> Outcome:
    return Outcome(OutcomeKind.DEFERRED, because, reply, target.host)
