"""A host of files on loopback that counts what it is asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Answer = Callable[[str], bytes]


def csv_of(*emails: str) -> bytes:
    """A whole answer with these members."""
    body = "\r\n".join(["email", *emails, ""]).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class FileHost:
    """Answers every path with the bytes of `answer`, and closes the connection."""

    def __init__(self, answer: Answer, *, latency_seconds: float = 0.0) -> None:
        self.answer = answer
        self.latency_seconds = latency_seconds
        #: How often each path was asked for.
        self.asked: Counter[str] = Counter()
        #: The Host fields.
        self.hosts: set[str] = set()
        self.port = 0

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/members.csv") -> str:
        return f"http://{self.place}{path}"

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        self.asked[path] += 1
        self.hosts |= {line.partition(": ")[2] for line in head.splitlines() if line.lower().startswith("host:")}
        await asyncio.sleep(self.latency_seconds)
        writer.write(self.answer(path))
        writer.close()


@asynccontextmanager
async def file_host(answer: Answer, *, latency_seconds: float = 0.0) -> AsyncIterator[FileHost]:
    """The host, on a free port."""
    host = FileHost(answer, latency_seconds=latency_seconds)
    server = await asyncio.start_server(host.take, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    async with server:
        yield host
