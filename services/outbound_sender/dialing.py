"""TCP connections: from which of our addresses, to which of a host's, IPv6 with a quick fall back (RFC 8305)."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

#: How long an address is waited for before the next one is tried beside it (RFC 8305 §5).
FALL_BACK_SECONDS = 0.25

#: What is wrong with this node, and says nothing about the peer: no descriptors, memory, ports, addresses or routes.
OWN_FAULTS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRINUSE,
        errno.EADDRNOTAVAIL,
        errno.ENETUNREACH,
    }
)


@dataclass(slots=True)
class Dialled:
    """The connection, or why there is none."""

    socket: socket.socket | None = None
    address: str = ""
    #: What happened at each address that was tried to its end before.
    failures: dict[str, str] = field(default_factory=dict)
    #: Those of `failures` that are this node's own faults.
    unasked: set[str] = field(default_factory=set)


def is_ours(address: str) -> bool:
    """Whether this machine has the address: only then can a socket be bound to it."""
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


async def dial(sources: Mapping[str, str], port: int, *, timeout_seconds: float) -> Dialled:
    """A connection to the first address that answers. `sources` has the addresses, in the order to try, and the one of
    ours to connect from, empty for the system's choice. The next one is tried `FALL_BACK_SECONDS` after the last, or as
    soon as that has failed; each has the whole timeout."""
    dialled = Dialled()
    waiting = deque(sources)
    trying: dict[asyncio.Task[socket.socket], str] = {}
    try:
        while dialled.socket is None and (waiting or trying):
            if waiting:
                address = waiting.popleft()
                trying[asyncio.create_task(_connected(address, port, sources[address], timeout_seconds))] = address
            patience = FALL_BACK_SECONDS if waiting else None
            done, _ = await asyncio.wait(trying, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                address = trying[task]
                if error := task.exception():
                    dialled.failures[address] = _because(error)
                    if getattr(error, "errno", None) in OWN_FAULTS:
                        dialled.unasked.add(address)
                    del trying[task]
                elif dialled.socket is None:
                    dialled.socket, dialled.address = task.result(), address
                    del trying[task]
        return dialled
    finally:
        for task in trying:
            task.add_done_callback(_close_unused)
            task.cancel()


async def _connected(address: str, port: int, source: str, timeout_seconds: float) -> socket.socket:
    sock = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            sock.bind((source, 0))
        async with asyncio.timeout(timeout_seconds):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _because(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not getattr(error, "errno", None):
        return "no connection in time"
    number = getattr(error, "errno", None)
    return f"no connection: {os.strerror(number) if number else error}"


def _close_unused(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
