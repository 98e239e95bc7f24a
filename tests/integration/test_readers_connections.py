"""What readers' connections meet first: answered there or by the application, the same either way, and never twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from deploy.local.ports import free_port
from services.tracking_api import front
from services.tracking_api.front import MAX_HEADER_BYTES, Front
from services.tracking_api.journal import Journal
from services.tracking_api.recording import Recorder
from services.tracking_api.routes import application
from services.tracking_api.tracking import PIXEL, Tracking
from shared.contracts.events import CopiesRead, ReadEvent
from shared.core.readings import MachineSign
from shared.core.tokens import Purpose
from shared.core.tracking import Reader, TrackedLinks
from shared.runtime.http import HttpServer
from tests.fakes.kept_publisher import KeptPublisher
from tests.fakes.waiting import until

LINKS = TrackedLinks(b"a secret of the tests", (), "https://lists.example.org")
URL = "https://shop.example/a?b=c"
AGENT = b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
CLICK = f"/c/{LINKS.token(Purpose.CLICK, Reader(7, 11))}/{LINKS.target(7, URL)}".encode()
OPEN = f"/o/{LINKS.token(Purpose.OPEN, Reader(7, 11))}.gif".encode()
USUAL = b"GET " + CLICK + b" HTTP/1.1\r\nHost: lists.example.org\r\n" + AGENT


class Node:
    """A tracking node without database, as far as readers meet it."""

    def __init__(self, folder: Path, *, max_bytes: int = 100_000) -> None:
        self.publisher = KeptPublisher()
        journal = Journal(folder, max_bytes=max_bytes)
        journal.open()
        self.port = free_port()
        tracking = Tracking(LINKS, Recorder(self.publisher, journal))
        self.server = HttpServer(
            application(None, tracking=tracking),  # type: ignore[arg-type]
            "127.0.0.1",
            self.port,
            trusted_proxies="127.0.0.1",
            front=partial(Front, tracking),
        )

    @property
    def events(self) -> Sequence[ReadEvent]:
        return [
            event
            for _, payload in self.publisher.published
            if isinstance(payload, CopiesRead)
            for event in payload.events
        ]

    async def said_to(self, *pieces: bytes) -> bytes:
        """All that is answered, until the connection is closed, which the last request asks for."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            answered = await reader.read()
        writer.close()
        return answered


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[Node]:
    serving = asyncio.create_task(node.server.run())
    await until(lambda: node.server.is_listening)
    try:
        yield node
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running(Node(tmp_path)) as node:
        yield node


#: A page of the application's, which ends the connection.
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def statuses(answered: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answered)]


def fields(answer: bytes) -> set[bytes]:
    """The names are there; a date is as good as another, and so is the end of a connection."""
    lines = [line.lower() for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return {b"date" if line.startswith(b"date: ") else line for line in lines if line != b"connection: close"}


async def test_both_ways_of_being_answered_are_the_same(node: Node) -> None:
    for path in (CLICK, OPEN):
        request = b"GET " + path + b" HTTP/1.1\r\nHost: lists.example.org\r\n" + AGENT
        whole = await node.said_to(request + b"\r\n" + LAST)
        here = whole[: whole.rindex(b"HTTP/1.1")]
        by_application = await node.said_to(request + b"Connection: close\r\n\r\n")
        assert fields(here) == fields(by_application)
        assert here.partition(b"\r\n\r\n")[2] == by_application.partition(b"\r\n\r\n")[2]
    assert [(event.url, event.sign) for event in node.events] == [(URL, None)] * 2 + [(None, None)] * 2


async def test_requests_are_answered_in_order_however_their_octets_come(node: Node) -> None:
    image = b"HEAD " + OPEN + b"?utm=1 HTTP/1.1\r\nhost: x\r\nConnection: keep-alive\r\n" + AGENT + b"\r\n"
    said = USUAL + b"\r\n" + image + b"GET " + OPEN + b" HTTP/1.1\r\nHost: x\r\n\r\n" + LAST
    at_once = await node.said_to(said)
    assert statuses(at_once) == [302, 200, 200, 200]
    assert at_once.count(PIXEL) == 1  # HEAD has none
    assert statuses(await node.said_to(*(said[at : at + 7] for at in range(0, len(said), 7)))) == [302, 200, 200, 200]
    assert [event.sign for event in node.events] == [None, MachineSign.HEAD, MachineSign.PROGRAM] * 2


async def test_nothing_is_answered_before_the_event_is_safe(node: Node) -> None:
    confirmed = asyncio.Event()
    publish = node.publisher.publish

    async def when_confirmed(queue: str, payload: CopiesRead) -> None:
        await confirmed.wait()
        await publish(queue, payload)

    node.publisher.publish = when_confirmed  # type: ignore[assignment, method-assign]
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    writer.write(USUAL + b"\r\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    confirmed.set()
    assert (await reader.readline()).startswith(b"HTTP/1.1 302 ")
    writer.close()


async def test_what_cannot_be_made_safe_is_the_applications_503(tmp_path: Path) -> None:
    async with running(Node(tmp_path, max_bytes=10)) as node:
        node.publisher.is_away = True
        assert statuses(await node.said_to(USUAL + b"\r\n" + LAST)) == [503, 200]


#: A whole request for a link, where a server that mistakes an end would find it.
INNER = USUAL + b"\r\n"


@pytest.mark.parametrize(
    ("said", "answered", "counted"),
    [
        # Contents are contents, and an end that is said twice is none.
        (USUAL + b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER + LAST, [302, 200], 1),
        (
            USUAL + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(INNER) + INNER + b"\r\n0\r\n\r\n" + LAST,
            [302, 200],
            1,
        ),
        (USUAL + b"Content-Length: 0\r\nContent-Length: 9\r\n\r\n" + INNER, [400], 0),
        (USUAL + b"Content-Length : 9\r\n\r\n" + INNER, [400], 0),
        (USUAL + b"Content-Length: +9\r\n\r\n" + INNER, [400], 0),
        (USUAL + b"Transfer-Encoding: xchunked\r\n\r\n" + INNER, [400], 0),
        (USUAL + b"Transfer-Encoding\x00: chunked\r\n\r\n" + INNER, [400], 0),
        # What some programs take for the end of a line, or of a field.
        (USUAL + b"X: a\rContent-Length: 9\r\n\r\n" + INNER, [400], 0),
        (USUAL + b"X: a\x00b\r\n\r\n" + INNER, [400], 0),
        (USUAL.replace(b"Host:", b"Host :") + b"\r\n" + INNER, [400], 0),
        (USUAL + b"Host: evil.example\r\n\r\n" + INNER, [400], 0),
        (USUAL.replace(b"Host: lists.example.org\r\n", b"") + b"\r\n" + INNER, [400], 0),
        (b"GET " + CLICK + b" HTTP/1.1 \r\nHost: x\r\n\r\n", [400], 0),
        (USUAL + b"X: " + b"x" * MAX_HEADER_BYTES + b"x" * 60_000, [400], 0),
        # Other methods, versions and addresses are none of ours.
        (b"POST " + CLICK + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + LAST, [404, 200], 0),
        (b"OPTIONS " + CLICK + b" HTTP/1.1\r\nHost: x\r\n\r\n" + LAST, [404, 200], 0),
        (b"GET " + CLICK + b"x HTTP/1.1\r\nHost: x\r\n\r\n" + LAST, [404, 200], 0),
        (b"GET " + CLICK.replace(b"/c/", b"/c//", 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n" + LAST, [404, 200], 0),
        (b"GET " + CLICK + b" HTTP/1.0\r\n\r\n", [302], 1),
        # From an odd one on, the application goes on.
        (USUAL + b"\r\n" + USUAL + b"Expect: 100-continue\r\n\r\n" + USUAL + b"\r\n" + LAST, [302, 302, 302, 200], 3),
    ],
)
async def test_a_request_ends_where_every_program_sees_its_end(
    node: Node, said: bytes, answered: list[int], counted: int
) -> None:
    assert statuses(await node.said_to(said)) == answered
    assert len(node.events) == counted


async def test_whoever_lets_a_request_drip_is_seen_off(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "QUIET_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)

    async def drip() -> None:
        while True:
            writer.write(b"G")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionResetError):
            assert not await reader.read()
            raise ConnectionResetError
    dripping.cancel()


async def test_a_reader_behind_a_trusted_balancer_is_known_by_its_own_address(node: Node) -> None:
    behind = b"X-Forwarded-For: 192.0.2.1, 66.249.84.1\r\n\r\n"
    assert statuses(await node.said_to(USUAL + behind + LAST)) == [302, 200]
    assert [event.sign for event in node.events] == [MachineSign.PROXY]


async def test_a_stop_lets_the_answer_that_is_due_go_out(tmp_path: Path) -> None:
    node = Node(tmp_path)
    asked, confirmed = asyncio.Event(), asyncio.Event()
    publish = node.publisher.publish

    async def when_confirmed(queue: str, payload: CopiesRead) -> None:
        asked.set()
        await confirmed.wait()
        await publish(queue, payload)

    node.publisher.publish = when_confirmed  # type: ignore[assignment, method-assign]
    serving = asyncio.create_task(node.server.run())
    await until(lambda: node.server.is_listening)
    answering = asyncio.create_task(node.said_to(USUAL + b"\r\n"))
    async with asyncio.timeout(10):
        await asked.wait()
    serving.cancel()
    confirmed.set()
    assert statuses(await answering) == [302]
    await asyncio.gather(serving, return_exceptions=True)
