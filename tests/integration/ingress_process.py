"""An ingress node in this process, with its real store and its real broker."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from deploy.local.ports import free_port
from services.ingress_smtp.settings import IngressSettings
from services.ingress_smtp.wiring import build
from shared.runtime.lifecycle import Process

SECRET = "a secret of at least sixteen"
POST = b"From: Ann <ann@example.org>\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n"


@dataclass(frozen=True, slots=True)
class RunningIngress:
    """Where it listens, and what it says of itself."""

    port: int
    process: Process

    def readiness(self) -> Mapping[str, bool]:
        return self.process.readiness()

    async def greeting(self) -> str:
        """The first line that a client gets, which leaves then."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        line = await reader.readline()
        writer.close()
        return line.decode()


@asynccontextmanager
async def running_ingress(database_url: str, amqp_url: str, **settings: Any) -> AsyncIterator[RunningIngress]:
    port = free_port()
    process = build(
        IngressSettings(
            database_url=database_url,
            amqp_url=amqp_url,
            secret=SECRET,
            smtp_port=port,
            **{"hostname": "mx.lists.test"} | settings,
        )
    )
    await process.start()
    loops = [asyncio.create_task(loop()) for loop in process.loops]
    try:
        yield RunningIngress(port, process)
    finally:
        await process.drain()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await process.close()


async def post(
    port: int, content: bytes = POST, recipient: str = "dev@lists.test", sender: str = "ann@example.org"
) -> str:
    """Send one message as a client does; the reply to the final dot, or the first refusal."""

    def submit() -> str:
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            client.ehlo("client.test")
            for code, text in (client.mail(sender), client.rcpt(recipient)):
                if code != 250:
                    return f"{code} {text.decode()}"
            code, text = client.data(content)
            return f"{code} {text.decode()}"

    return await asyncio.to_thread(submit)
