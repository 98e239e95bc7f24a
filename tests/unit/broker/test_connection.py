"""What a lost broker looks like to whoever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket

import aio_pika
import pytest
from aio_pika.connection import make_url

from shared.broker import connection
from shared.broker.connection import BrokerUnavailable, broker_faults, close_quietly, connect


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), TimeoutError(), RuntimeError("closed"), Exception()])
async def test_a_fault_of_the_connection_is_said_in_one_way(error: Exception) -> None:
    with pytest.raises(BrokerUnavailable), broker_faults():
        raise error


async def test_a_fault_of_ours_stays_what_it_is() -> None:
    with pytest.raises(KeyError), broker_faults():
        raise KeyError("ours")


async def test_a_cancellation_of_the_librarys_own_ends_nobody_else() -> None:
    librarys_own = asyncio.create_task(asyncio.sleep(60))
    librarys_own.cancel()
    with pytest.raises(BrokerUnavailable), broker_faults():
        await librarys_own


async def test_whoever_is_cancelled_while_it_waits_is_cancelled() -> None:
    async def wait() -> None:
        with broker_faults():
            await asyncio.sleep(60)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_connection_that_is_not_made_leaves_nothing_to_close() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{deaf.getsockname()[1]}/"
        # The error keeps what it came through.
        with pytest.raises(OSError, match="Connect call failed") as failed:
            await connect(url, "test")
    (tried,) = (
        each for each in gc.get_objects() if isinstance(each, aio_pika.Connection) and str(each).startswith(url)
    )
    assert tried.is_closed
    del failed


async def test_a_connection_that_does_not_close_in_time_leaves_nothing_to_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Deaf:
        async def close(self, _because: object) -> None:
            await asyncio.sleep(60)

    monkeypatch.setattr(connection, "CLOSE_TIMEOUT_SECONDS", 0.01)
    frozen = aio_pika.Connection(make_url("amqp://127.0.0.1/"))
    frozen.transport = Deaf()  # type: ignore[assignment]
    await close_quietly(frozen)
    assert frozen.is_closed


@pytest.mark.parametrize("error", [None, ConnectionResetError("gone")])
async def test_a_cancellation_that_the_library_loses_is_said_again(error: Exception | None) -> None:
    async def loses_it() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        if error is not None:
            raise error

    async def call() -> None:
        with broker_faults():
            await loses_it()
        await asyncio.sleep(60)

    calling = asyncio.create_task(call())
    await asyncio.sleep(0)
    calling.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await calling
