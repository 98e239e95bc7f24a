"""A client that sends what it is told, byte by byte, and an ingress server to send it to."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from services.ingress_smtp.admission import Admission
from services.ingress_smtp.connection import ConnectionTerms
from services.ingress_smtp.limits import DataBudget
from services.ingress_smtp.server import SmtpServer
from services.ingress_smtp.session import SessionTerms
from tests.fakes.ingress import FakeIntake, FakeStore

SECRET = b"a secret of at least sixteen"


async def until(condition: Callable[[], bool]) -> None:
    """Give others their turn until `condition` holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for is another room's figure
            await asyncio.sleep(0)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def reply(self) -> str:
        """The next reply, its lines joined by newlines; empty at the connection's end."""
        lines: list[str] = []
        async with asyncio.timeout(20):
            while True:
                try:
                    line = (await self._reader.readline()).decode()
                except ConnectionResetError:
                    line = ""
                if not line:
                    return "\n".join(lines)
                lines.append(line.rstrip("\r\n"))
                if line[3:4] != "-":
                    return "\n".join(lines)

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def say(self, line: str) -> str:
        """Send a command, return its reply."""
        await self.send(line.encode() + b"\r\n")
        return await self.reply()

    async def begin(self, *recipients: str, sender: str = "ann@example.org", parameters: str = "") -> None:
        """EHLO, MAIL and RCPTs, each accepted."""
        rcpts = [f"RCPT TO:<{recipient}>" for recipient in recipients]
        for line in ("EHLO client.test", f"MAIL FROM:<{sender}>{parameters}", *rcpts):
            reply = await self.say(line)
            assert reply.startswith("250"), f"{line}: {reply}"

    async def data(self, content: bytes) -> str:
        """DATA with `content` as it is, the final dot included; the reply to it."""
        reply = await self.say("DATA")
        assert reply.startswith("354"), reply
        await self.send(content)
        return await self.reply()

    async def start_tls(self) -> None:
        """The client's half of STARTTLS, after its 220."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await self.writer.start_tls(context)


@dataclasses.dataclass
class Ingress:
    """A running server."""

    server: SmtpServer
    intake: FakeIntake
    store: FakeStore
    budget: DataBudget
    admission: Admission

    @asynccontextmanager
    async def client(self, *, greeted: bool = True, address: str = "127.0.0.1") -> AsyncIterator[Client]:
        """A client at this address of the loopback."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, local_addr=(address, 0))
        client = Client(reader, writer)
        if greeted:
            greeting = await client.reply()
            assert greeting.startswith("220 mx.lists.test"), greeting
        try:
            yield client
        finally:
            writer.close()


@asynccontextmanager
async def running_ingress(*, most_sessions: int = 50, intake: Any = None, **changes: Any) -> AsyncIterator[Ingress]:
    """An ingress server on a free port; `changes` are fields of its `SessionTerms` or its `ConnectionTerms`."""
    of_connection = {name: changes.pop(name) for name in ("tls", "is_trusted_proxy", "idle_seconds") if name in changes}
    store = FakeStore()
    fake_intake = FakeIntake()
    terms = SessionTerms(
        connection=ConnectionTerms(hostname="mx.lists.test", **of_connection),
        intake=intake or fake_intake,
        directory=store,
        budget=DataBudget(64 * 1024 * 1024),
        admission=Admission(most_sessions),
        secret=SECRET,
        max_message_bytes=30 * 1024 * 1024,
        max_recipients=100,
    )
    terms = dataclasses.replace(terms, **changes)
    server = SmtpServer(terms, "127.0.0.1", 0)
    await server.start()
    try:
        yield Ingress(server, fake_intake, store, terms.budget, terms.admission)
    finally:
        fake_intake.gate.set()
        server.abort()
        await server.stop()
