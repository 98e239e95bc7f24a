"""Mail servers that take connections and let them wait."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from chaos.loop_thread import LoopThread

_GREETING = b"220 tarpit.test ESMTP\r\n"


@contextmanager
def running_tarpit(host: str, port: int, *, byte_seconds: float) -> Iterator[None]:
    """Of two connections one gets the greeting a byte at a time, the other gets it at once and never a reply."""
    numbers = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        piece_bytes = 1 if next(numbers) % 2 else len(_GREETING)
        try:
            for start in range(0, len(_GREETING), piece_bytes):
                writer.write(_GREETING[start : start + piece_bytes])
                await writer.drain()
                await asyncio.sleep(byte_seconds)
            await reader.read()  # until the client has enough
        except (OSError, asyncio.CancelledError):
            pass  # The client had enough, or it is the end.
        finally:
            writer.close()

    thread = LoopThread("tarpit")
    thread.start()
    server = thread.run(asyncio.start_server(serve, host, port))
    try:
        yield
    finally:
        server.close()
        thread.stop()
