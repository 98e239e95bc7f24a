from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from services.tracking_api.journal import Journal, JournalFull
from services.tracking_api.recording import MAX_GROUP, Recorder
from services.tracking_api.routes import application
from services.tracking_api.tracking import PIXEL, Tracking
from shared.contracts.events import CopiesRead, ReadEvent
from shared.contracts.topology import TRACKING_QUEUE
from shared.core.readings import MachineSign
from shared.core.tokens import Purpose
from shared.core.tracking import Reader, TrackedLinks
from tests.fakes.kept_publisher import KeptPublisher
from tests.fakes.waiting import until

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LINKS = TrackedLinks(b"a secret of the tests", (), "https://lists.example.org")
URL = "https://shop.example/a?b=c&d=e#f"
ANN = Reader(7, 11)
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
CLICK = f"/c/{LINKS.token(Purpose.CLICK, ANN)}/{LINKS.target(7, URL)}"
OPEN = f"/o/{LINKS.token(Purpose.OPEN, ANN)}.gif"


def event(number: int) -> ReadEvent:
    return ReadEvent(UUID(int=number), NOW, 7, number, None)


def told(publisher: KeptPublisher) -> list[ReadEvent]:
    assert {queue for queue, _ in publisher.published} <= {TRACKING_QUEUE}
    return [each for _, payload in publisher.published if isinstance(payload, CopiesRead) for each in payload.events]


class Node:
    """A tracking node without database; its broker may be away."""

    def __init__(self, folder: Path, max_bytes: int = 1_000_000) -> None:
        self.publisher = KeptPublisher()
        self.journal = Journal(folder, max_bytes=max_bytes)
        self.journal.open()
        self.recorder = Recorder(self.publisher, self.journal)
        app = application(None, tracking=Tracking(LINKS, self.recorder))  # type: ignore[arg-type]
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://evil.example")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_events_that_come_at_one_time_travel_together(node: Node) -> None:
    await asyncio.gather(*(node.recorder.record(event(number)) for number in range(2 * MAX_GROUP + 1)))
    assert told(node.publisher) == [event(number) for number in range(2 * MAX_GROUP + 1)]
    assert len(node.publisher.published) == 3


async def test_what_the_broker_does_not_take_is_replayed_when_it_is_back(node: Node) -> None:
    node.publisher.is_away = True
    await node.recorder.record(event(1))
    await node.recorder.record(event(2))
    assert node.recorder.is_journalling
    replaying = asyncio.create_task(node.recorder.replay())
    await asyncio.sleep(0)
    node.publisher.is_away = False
    await until(lambda: len(told(node.publisher)) == 2)
    await node.recorder.record(event(3))
    assert told(node.publisher) == [event(1), event(2), event(3)]
    await until(lambda: not node.journal.segments())
    assert node.journal.size_bytes == 0
    replaying.cancel()


async def test_what_a_killed_process_left_is_replayed_by_the_next(node: Node, tmp_path: Path) -> None:
    node.publisher.is_away = True
    await node.recorder.record(event(1))
    node.journal.close()
    again = Node(tmp_path)
    replaying = asyncio.create_task(again.recorder.replay())
    await until(lambda: told(again.publisher) == [event(1)])
    replaying.cancel()


async def test_a_full_journal_refuses_and_goes_on_when_the_broker_is_back(tmp_path: Path) -> None:
    node = Node(tmp_path, max_bytes=100)
    node.publisher.is_away = True
    with pytest.raises(JournalFull):
        await node.recorder.record(event(1))
    assert (await node.client.get(CLICK)).status_code == 503
    node.publisher.is_away = False
    replaying = asyncio.create_task(node.recorder.replay())
    await until(lambda: not node.recorder.is_journalling)
    await node.recorder.record(event(2))
    assert told(node.publisher) == [event(2)]
    replaying.cancel()


async def test_whoever_waits_is_told_of_a_fault_of_ours(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as faulty:
        faulty.setattr(node.publisher, "publish", fail)
        waiting = [node.recorder.record(event(number)) for number in range(2)]
        results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert [type(result) for result in results] == [JournalFull, JournalFull]
    await node.recorder.record(event(3))
    assert told(node.publisher) == [event(3)]


async def fail(*_arguments: object) -> None:
    raise ValueError("nobody expected this")


async def test_a_link_leads_where_the_author_said_and_the_event_is_safe_before(node: Node) -> None:
    answer = await node.client.get(CLICK, headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"], answer.content) == (302, URL, b"")
    assert answer.headers["Cache-Control"] == "no-store, private"
    assert "set-cookie" not in answer.headers
    (seen,) = told(node.publisher)
    assert (seen.mailing_id, seen.delivery_id, seen.url, seen.sign) == (7, 11, URL, None)
    assert abs((datetime.now(UTC) - seen.at).total_seconds()) < 60


async def test_an_image_is_there_and_is_never_kept(node: Node) -> None:
    answer = await node.client.get(OPEN, headers=BROWSER)
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, PIXEL, "image/gif")
    assert answer.headers["Cache-Control"] == "no-store, private"
    (seen,) = told(node.publisher)
    assert (seen.mailing_id, seen.delivery_id, seen.url) == (7, 11, None)


@pytest.mark.parametrize("path", [CLICK, OPEN])
async def test_head_answers_the_same_and_is_no_persons(node: Node, path: str) -> None:
    got, head = await node.client.get(path, headers=BROWSER), await node.client.head(path, headers=BROWSER)
    assert (got.status_code, got.headers) == (head.status_code, head.headers)
    assert [seen.sign for seen in told(node.publisher)] == [None, MachineSign.HEAD]


async def test_a_prefetch_is_marked(node: Node) -> None:
    await node.client.get(CLICK, headers=BROWSER | {"Sec-Purpose": "prefetch"})
    await node.client.get(CLICK, headers={"User-Agent": "curl/8.5.0"})
    assert [seen.sign for seen in told(node.publisher)] == [MachineSign.PREFETCH, MachineSign.PROGRAM]


async def test_every_event_has_an_id_of_its_own_and_those_of_one_time_are_neighbours(node: Node) -> None:
    await asyncio.gather(*(node.client.get(OPEN) for _ in range(50)))
    ids = [seen.id for seen in told(node.publisher)]
    assert len(set(ids)) == 50
    assert {each.version for each in ids} == {7}
    assert max(ids).int - min(ids).int < 60_000 << 80


TOKEN, TARGET = CLICK.split("/")[2:]
OTHER_TARGET = LINKS.target(8, "https://evil.example/")


@pytest.mark.parametrize(
    "path",
    [
        "/c",
        "/c?u=https://evil.example",
        "/c//evil.example",
        "/c/\\evil.example",
        f"/c/{TOKEN}",
        f"/c/{TOKEN}/",
        f"/c/{TOKEN}/https://evil.example",
        f"/c/{TOKEN}/https:evil.example",
        f"/c/{TOKEN}/{OTHER_TARGET}",
        f"/c/{TOKEN}/{TARGET}/x",
        f"/c/{TOKEN}/{TARGET}%0d%0aSet-Cookie:%20a=b",
        f"/c/{TOKEN[:-1]}0/{TARGET}" if TOKEN[-1] != "0" else f"/c/{TOKEN[:-1]}1/{TARGET}",
        f"/c/{OPEN.split('/')[2][:-4]}/{TARGET}",
        f"/c/{'0' * 1000}/{TARGET}",
        f"/o/{TOKEN}.gif",
        f"/o/{OPEN.split('/')[2][:-4]}",
        f"/o/{OPEN.split('/')[2][:-4]}.gif.gif",
        "/o/.gif",
        "/o/javascript:alert(1).gif",
    ],
)
async def test_what_was_not_written_by_us_leads_nowhere(node: Node, path: str) -> None:
    answer = await node.client.get(path)
    unknown = await node.client.get("/nothing")
    assert (answer.status_code, answer.content) == (404, unknown.content)
    assert "location" not in answer.headers
    assert told(node.publisher) == []


async def test_a_parameter_changes_nothing(node: Node) -> None:
    answer = await node.client.get(f"{CLICK}?u=https://evil.example&url=//evil.example")
    assert answer.headers["Location"] == URL


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "DELETE", "TRACE"])
async def test_other_methods_are_not_known(node: Node, method: str) -> None:
    assert (await node.client.request(method, CLICK)).status_code == 404
    assert told(node.publisher) == []
