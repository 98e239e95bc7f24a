"""From a target to a connection that waits for MAIL: TCP, greeting, EHLO, opportunistic STARTTLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from typing import cast

import aiosmtplib

from services.outbound_sender.bandwidth import Bandwidth
from services.outbound_sender.connection import Connection, Timeouts
from services.outbound_sender.reply_stream import ReplyStream
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import Reply, clean_text


@dataclass(frozen=True, slots=True)
class Target:
    """One address of one host."""

    #: The name that is shown, and sent as TLS server name.
    host: str
    #: An IP address, IPv4 or IPv6.
    address: str
    port: int


class _TlsFailed(Exception):
    """The handshake broke the connection: nothing more can be said on it."""


def opportunistic_tls() -> ssl.SSLContext:
    """TLS with whatever certificate the peer has: against listeners, not against impostors (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def connect(
    target: Target,
    *,
    hostname: str,
    timeouts: Timeouts,
    tls_context: ssl.SSLContext | None,
    bandwidth: Bandwidth | None = None,
) -> Connection | Outcome:
    """A connection ready for its first transaction, or why there is none: always a deferral.

    It writes content as `bandwidth` grants it, by default at once.

    STARTTLS is used where offered (`tls_context` None: never). It is opportunistic: a peer that answers it with 4yz or
    5yz is talked to in the clear on the same connection (RFC 3207 §4), one whose handshake breaks on a new one.

    A refusal in the greeting or to EHLO, 5yz included, is no refusal of the recipient: it says that this host gives us
    no service (RFC 5321 §3.1, §4.2.3), mostly for our address. Another host, or another node, may be welcome.
    """
    bandwidth = bandwidth or Bandwidth()
    try:
        try:
            return await _open(target, hostname, timeouts, tls_context, bandwidth)
        except _TlsFailed:
            return await _open(target, hostname, timeouts, None, bandwidth)
    except aiosmtplib.SMTPResponseException as exc:
        words = clean_text(exc.message.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        if not 200 <= exc.code < 600:  # aiosmtplib has -1 for what is no reply at all
            return _deferred(target, f"no SMTP before MAIL: {words.strip()}")
        return _deferred(target, "refused before MAIL", Reply(exc.code, words))
    except aiosmtplib.SMTPTimeoutError:
        return _deferred(target, "no answer in time before MAIL")
    except aiosmtplib.SMTPException:
        return _deferred(target, "connection lost before MAIL")
    except TimeoutError:
        return _deferred(target, "no connection in time")
    except OSError as exc:
        return _deferred(target, f"no connection: {os.strerror(exc.errno) if exc.errno else exc}")


async def _open(
    target: Target, hostname: str, timeouts: Timeouts, tls_context: ssl.SSLContext | None, bandwidth: Bandwidth
) -> Connection:
    smtp = aiosmtplib.SMTP(
        hostname=None,
        sock=await _socket(target, timeouts.connect_seconds),
        local_hostname=hostname,
        start_tls=False,
        timeout=timeouts.banner_seconds,
    )
    try:
        await smtp.connect()
        await _greet(smtp, hostname, timeouts)
        if tls_context is not None and smtp.supports_extension("starttls"):
            await _start_tls(smtp, target, timeouts, tls_context)
            if not smtp.last_ehlo_response:
                await _greet(smtp, hostname, timeouts)
        if smtp.transport is None:
            raise aiosmtplib.SMTPServerDisconnected("closed after EHLO")
        # From here aiosmtplib knows nothing of the connection. (uvloop's transports do not inherit from asyncio's.)
        stream = ReplyStream(cast("asyncio.Transport", smtp.transport))
        return Connection(
            stream,
            target.host,
            dict(smtp.esmtp_extensions),
            timeouts,
            address=target.address,
            bandwidth=bandwidth,
        )
    except BaseException:
        smtp.close()
        raise


async def _socket(target: Target, timeout_seconds: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.sock_connect(sock, (target.address, target.port)), timeout_seconds)
    except BaseException:
        sock.close()
        raise
    return sock


async def _greet(smtp: aiosmtplib.SMTP, hostname: str, timeouts: Timeouts) -> None:
    try:
        await smtp.ehlo(hostname=hostname, timeout=timeouts.ehlo_seconds)
    except aiosmtplib.SMTPHeloError as exc:
        # RFC 5321 §3.2: a server that does not know EHLO may know HELO. Then it has no extensions.
        if not 500 <= exc.code < 600:
            raise
        await smtp.helo(hostname=hostname, timeout=timeouts.ehlo_seconds)


async def _start_tls(smtp: aiosmtplib.SMTP, target: Target, timeouts: Timeouts, tls_context: ssl.SSLContext) -> None:
    try:
        await smtp.starttls(server_hostname=target.host, tls_context=tls_context, timeout=timeouts.tls_seconds)
    except aiosmtplib.SMTPResponseException as exc:
        if exc.code == 421 or not 400 <= exc.code < 600:
            raise
    except (aiosmtplib.SMTPException, OSError, ValueError) as exc:  # ValueError: a host that is no TLS server name
        raise _TlsFailed from exc


def _deferred(target: Target, because: str, reply: Reply | None = None) -> Outcome:
    return Outcome(OutcomeKind.DEFERRED, because, reply, target.host)
