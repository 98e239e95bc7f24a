"""A service's process: started, ready, told to stop, gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
import uvloop

from shared.runtime import health, logs
from shared.runtime.http import HttpServer
from shared.runtime.settings import ServiceSettings, load

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """What a service's wiring built."""

    #: Runs before the loops, once; when it raises, the process ends.
    start: Callable[[], Awaitable[None]]
    #: Each runs until it is cancelled. One that ends or raises ends the process: half a service serves nobody.
    loops: Sequence[Callable[[], Coroutine[Any, Any, None]]]
    #: Takes nothing more and finishes what is in flight, within the grace; the loops still run meanwhile.
    drain: Callable[[], Awaitable[None]]
    #: Closes what is open, after the loops.
    close: Callable[[], Awaitable[None]]
    readiness: health.Readiness


class Ending(Exception):
    """The process cannot go on; the text is for the operator."""


S = TypeVar("S", bound=ServiceSettings)


def run(name: str, settings_type: type[S], build: Callable[[S], Process]) -> None:
    """Run a service until SIGTERM or SIGINT; the exit status is 0 after a clean stop."""
    settings = load(settings_type)
    logs.configure(settings.log_level, name)
    raise SystemExit(uvloop.run(_live(settings, build)))


async def _live(settings: S, build: Callable[[S], Process]) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopping.set)
    process = build(settings)
    server = HttpServer(health.application(process.readiness), settings.health_host, settings.health_port)
    tasks = [asyncio.create_task(server.run(), name="health")]
    stopped = asyncio.create_task(stopping.wait())
    try:
        starting = asyncio.create_task(_start(process, tasks))
        await asyncio.wait([starting, stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        else:
            starting.cancel()
        for task in tasks:
            if task.done():
                task.result()
                raise Ending(f"{task.get_name()} ended by itself")
        _log.info("stopping")
        await _drain(process, settings.stop_grace_seconds)
    except Ending as ending:
        _log.error(str(ending))
        return 1
    except Exception:  # noqa: BLE001 - logged as what ended the process
        _log.exception("the process ends")
        return 1
    finally:
        stopped.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await process.close()
    _log.info("stopped")
    return 0


async def _start(process: Process, tasks: list[asyncio.Task[None]]) -> None:
    await process.start()
    tasks.extend(asyncio.create_task(loop(), name=getattr(loop, "__qualname__", "loop")) for loop in process.loops)
    _log.info("started")


async def _drain(process: Process, grace_seconds: float) -> None:
    try:
        async with asyncio.timeout(grace_seconds):
            await process.drain()
    except TimeoutError:
        _log.warning("the grace period is over; what is left is taken over by others", grace_seconds=grace_seconds)
