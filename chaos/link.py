"""One process's way to one server, which can be cut, silently or not, and mended."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum

from chaos.loop_thread import LoopThread
from deploy.local.ports import LOOPBACK, free_port

_CHUNK_BYTES = 1 << 16


class Cut(StrEnum):
    """How a way is cut."""

    #: Open connections are reset, new ones refused: the server's machine is there, the server is not.
    REFUSING = "refusing"
    #: Nothing arrives, and nobody hears of it. What was sent meanwhile arrives after the cut, as TCP would repeat it.
    SILENT = "silent"


class Link:
    """A TCP proxy in front of a server on loopback. All methods may be called from any thread but its own."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._thread = LoopThread(f"link {target_port}")
        self._flows = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    def start(self) -> None:
        self._thread.start()
        self.mend()

    def stop(self) -> None:
        self._thread.run(self._refuse())
        self._thread.stop()

    def cut(self, how: Cut) -> None:
        self._thread.run(self._refuse() if how is Cut.REFUSING else self._silence())

    def mend(self) -> None:
        """Everything flows, from now on."""
        self._thread.run(self._listen())

    async def _listen(self) -> None:
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    async def _silence(self) -> None:
        self._flows.clear()

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(asyncio.CancelledError):  # at the end: Python 3.11 complains of server tasks that are cancelled
            await self._pass_on(reader, writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._flows.wait()
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
        except OSError:
            self._close(writer)
            return
        self._open.add(far_writer)
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._flows.wait()
                writer.write(chunk)
                await writer.drain()
            await self._flows.wait()  # the end of a connection is not heard of through a silent cut either
        except OSError:
            pass  # Either side reset it; the other is told below.
        finally:
            self._close(writer)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()
