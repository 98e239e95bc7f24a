"""An SMTP server that does exactly what a test says, over a real socket on 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

EXTENSIONS = ("PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8")


class Dialogue:
    """One connection, seen from the peer's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        #: Every line that came, without its CRLF, in order; content lines are not among them.
        self.commands: list[bytes] = []
        #: The address that the connection comes from.
        self.client: str = writer.get_extra_info("peername")[0]
        #: The address that it goes to.
        self.server: str = writer.get_extra_info("sockname")[0]
        #: What came between 354 and the final dot, as raw bytes with the dot.
        self.contents: list[bytes] = []

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def hear(self, count: int = 1) -> None:
        """Waits for so many command lines."""
        for _ in range(count):
            line = await self._reader.readuntil(b"\r\n")
            self.commands.append(line[:-2])

    async def greet(self, *extensions: str) -> None:
        await self.say(b"220 peer.test ESMTP\r\n")
        await self.answer_ehlo(*extensions)

    async def answer_ehlo(self, *extensions: str) -> None:
        await self.hear()
        lines = ["peer.test", *extensions]
        text = "".join(f"250{' ' if line is lines[-1] else '-'}{line}\r\n" for line in lines)
        await self.say(text.encode())

    async def take_content(self) -> None:
        content = bytearray()
        while not content.endswith(b"\r\n.\r\n"):
            piece = await self._reader.read(65_536)
            if not piece:
                raise ConnectionError("closed within the content")
            content += piece
        self.contents.append(bytes(content))

    async def take_some_content(self) -> None:
        await self._reader.readexactly(100)

    async def take_envelope(self) -> None:
        """MAIL, RCPT and DATA, pipelined or not, all accepted."""
        for reply in (b"250 2.1.0 ok\r\n", b"250 2.1.5 ok\r\n", b"354 go on\r\n"):
            await self.hear()
            await self.say(reply)

    async def take_envelope_after_rset(self) -> None:
        await self.hear()
        assert self.commands[-1] == b"RSET", self.commands
        await self.say(b"250 2.0.0 reset\r\n")
        await self.take_envelope()

    async def hear_nothing(self, seconds: float) -> None:
        """Makes sure that the client waits for a reply before it goes on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.hear()
            raise AssertionError(f"did not wait: {self.commands[-1]!r}")

    async def hear_something(self, seconds: float) -> None:
        """Reads whatever comes, but waits no longer than that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reader.read(65_536)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self._writer.start_tls(context)

    async def until_closed(self) -> None:
        while await self._reader.read(65_536):
            pass

    async def silence(self) -> None:
        """Reads nothing and says nothing, until the other side is tired of it."""
        await asyncio.sleep(60)

    def reset(self) -> None:
        """Ends the connection with RST."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Dialogue], Awaitable[None]]


class ScriptedPeer:
    """A listening peer; each connection runs the next script, the last one again and again. Its end is a FIN."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self._scripts = scripts
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.dialogues: list[Dialogue] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        dialogue = Dialogue(reader, writer)
        script = self._scripts[min(len(self.dialogues), len(self._scripts) - 1)]
        self.dialogues.append(dialogue)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            await script(dialogue)
        writer.close()
        self._tasks.discard(task)

    @property
    def has_finished(self) -> bool:
        """True when every connection so far has ended."""
        return not self._tasks

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def scripted_peer(*scripts: Script, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[ScriptedPeer]:
    peer = ScriptedPeer(scripts)
    server = await asyncio.start_server(peer.serve, host, port)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        peer.stop()
        await server.wait_closed()


@contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """An address at which connections are neither taken nor refused: its queue is full, so SYNs are dropped."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(3):
            filling = sockets.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex((host, port))
        yield
