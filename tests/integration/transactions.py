"""What the tests of the outbound transport share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from services.outbound_sender.connection import Connection, Timeouts
from services.outbound_sender.dead_hosts import DeadHosts
from services.outbound_sender.transport import Target, Terms, connect
from shared.core.delivery import Outcome

CONTENT = b"Subject: x\r\n\r\nhello\r\n.\r\n"
SHORT = Timeouts(
    connect_seconds=2,
    command_seconds=0.3,
    tls_seconds=2,
    block_seconds=0.3,
    final_dot_seconds=0.3,
    quit_seconds=0.3,
)


def target_at(port: int, host: str = "peer.test") -> Target:
    return Target(host, ("127.0.0.1",), port)


async def connected(port: int, timeouts: Timeouts = SHORT) -> Connection:
    opened = await connect(target_at(port), Terms("node.test", timeouts), DeadHosts())
    assert isinstance(opened, Connection), opened
    return opened


async def send(
    connection: Connection,
    *content: bytes,
    return_path: str = "b+abc@list.test",
    recipient: str = "member@peer.test",
    has_8bit: bool = False,
    has_utf8_header: bool = False,
    needs_smtputf8: bool = False,
    may_start_content: Callable[[], bool] = lambda: True,
) -> Outcome:
    [outcome] = await connection.send(
        return_path,
        [recipient],
        content or (CONTENT,),
        has_8bit=has_8bit,
        has_utf8_header=has_utf8_header,
        needs_smtputf8=needs_smtputf8,
        may_start_content=may_start_content,
    )
    assert outcome is not None
    return outcome


async def on_loop(name: str, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs the scenario on this loop, or on a uvloop of its own."""
    if name == "asyncio":
        await scenario()
        return

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(scenario())

    await asyncio.to_thread(run)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition is the peer's, there is no event to wait for
            await asyncio.sleep(0.005)
