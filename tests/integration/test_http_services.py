"""`admin_api` and `tracking_api` as the processes they are."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.local.child import Child
from deploy.local.ports import free_port
from shared.store.engine import RawConnection
from tests.integration import stored

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-from-the-settings"
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}
ROWS = 100_000


@contextmanager
def _service(name: str, log: Path, settings: dict[str, str]) -> Iterator[Child]:
    """The process of a service with these settings alone."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    environment |= {f"LISTFLEET_{variable}": value for variable, value in settings.items()}
    child = Child(name, [sys.executable, "-m", f"services.{name}"], log, environment=environment, folder=ROOT)
    child.start()
    try:
        yield child
    finally:
        child.kill()


async def _answers(client: httpx.AsyncClient, url: str, child: Child) -> httpx.Response:
    """The first good answer of the address; fails with the log when the process ends before."""
    async with asyncio.timeout(30):
        while True:
            assert child.is_running, child.log.read_text()
            try:
                if (answer := await client.get(url)).is_success:
                    return answer
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def _rows() -> AsyncIterator[bytes]:
    yield b"email,display_name,status,city,customer\r\n"
    for first in range(0, ROWS, 1000):
        rows = (
            f"member{number}@example{number % 7}.com,Member {number},subscribed,Köln,{number}\r\n".encode()
            for number in range(first, first + 1000)
        )
        yield b"".join(rows)


def _peak_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


async def test_a_hundred_thousand_rows_come_in_and_out_in_time_and_in_little_memory(
    database_url: str, tmp_path: Path
) -> None:
    port, health_port = free_port(), free_port()
    settings = {
        "DATABASE_URL": database_url,
        # Nobody listens there: the API goes on without a broker.
        "AMQP_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}/",
        "ADMIN_PORT": str(port),
        "HEALTH_PORT": str(health_port),
        "ADMIN_TOKEN": TOKEN,
        "SECRET": "sixteen octets or more",
    }
    with _service("admin_api", tmp_path / "log", settings) as process:
        base = f"http://127.0.0.1:{port}/api/v1"
        async with httpx.AsyncClient(headers=AUTHORIZATION, timeout=120) as client:
            ready = await _answers(client, f"http://127.0.0.1:{health_port}/readyz", process)
            assert ready.json() == {"http": True, "database": True}
            await client.post(f"{base}/lists", json={"name": "big", "domain": "example.org"})
            started = time.monotonic()
            headers = {"Content-Type": "text/csv"}
            report = await client.post(f"{base}/lists/big@example.org/members/import", content=_rows(), headers=headers)
            seconds = time.monotonic() - started
            assert report.json()["added"] == ROWS, report.text
            file = b""
            async with client.stream("GET", f"{base}/lists/big@example.org/members/export?format=ndjson") as export:
                async for chunk in export.aiter_bytes():
                    file += chunk
            last = json.loads(file.splitlines()[-1])
            assert (file.count(b"\n"), last["fields"]) == (ROWS, {"city": "Köln", "customer": str(ROWS - 1)})
            limited = await client.patch(f"{base}/nodes/outbound-1/settings", json={"max_connections": 1})
            assert limited.json()["effective"]["max_connections"] == 1
            assert seconds < 60, "a statement a row takes minutes"
            assert _peak_megabytes(process.pid) < 200
        process.terminate()
        assert await asyncio.to_thread(process.wait, 30) == 0, process.log.read_text()
    for line in process.log.read_text().splitlines():
        assert json.loads(line)["service"] == "admin"


async def test_a_missing_setting_is_named_in_one_sentence(tmp_path: Path) -> None:
    with _service("admin_api", tmp_path / "log", {"AMQP_URL": "amqp://x@127.0.0.1/", "ADMIN_TOKEN": "short"}) as child:
        assert await asyncio.to_thread(child.wait, 30) not in (0, None)
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 3
    assert {"LISTFLEET_DATABASE_URL is not set.", "LISTFLEET_SECRET is not set."} < set(lines)
    assert any(line.startswith("LISTFLEET_ADMIN_TOKEN is wrong") for line in lines)


@pytest.fixture
async def tracking(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    port, health_port = free_port(), free_port()
    settings = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "AMQP_URL": "amqp://guest:guest@127.0.0.1:1/",
        "SECRET": "sixteen octets or more",
        "TRACKING_PORT": str(port),
        "HEALTH_PORT": str(health_port),
    }
    with _service("tracking_api", tmp_path / "log", settings) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await _answers(client, f"http://127.0.0.1:{health_port}/readyz", process)
            yield client
        process.terminate()
        assert await asyncio.to_thread(process.wait, 30) == 0, process.log.read_text()


async def test_every_address_that_is_not_known_shows_the_same_page_and_tells_nothing(
    tracking: httpx.AsyncClient,
) -> None:
    assert (await tracking.get("/healthz")).text == "ok\n"
    answers = [await tracking.get(path) for path in ("/", "/c/abc", "/u/%00", "/..%2f..", "/" + "x" * 20_000)]
    answers.append(await tracking.post("/u/abc", data={"List-Unsubscribe": "One-Click"}))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    page = answers[0]
    assert '<html lang="en">' in page.text
    assert "<h1>" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("trusted", "counted"),
    [
        ("", {"127.0.0.1", "127.0.0.0/24"}),
        ("127.0.0.0/8", {"203.0.113.9", "203.0.113.0/24"}),
        ("192.0.2.0/24", {"127.0.0.1", "127.0.0.0/24"}),
    ],
)
async def test_readers_are_counted_by_what_a_trusted_balancer_says(
    database_url: str, connection: RawConnection, tmp_path: Path, trusted: str, counted: set[str]
) -> None:
    port, health_port = free_port(), free_port()
    settings = {
        "DATABASE_URL": database_url,
        "AMQP_URL": "amqp://guest:guest@127.0.0.1:1/",
        "SECRET": "sixteen octets or more",
        "TRACKING_PORT": str(port),
        "HEALTH_PORT": str(health_port),
        "TRUSTED_PROXIES": trusted,
    }
    await stored.new_list(connection, 0)
    address = await connection.fetchval("SELECT name || '@' || domain FROM mailing_lists")
    with _service("tracking_api", tmp_path / "log", settings) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await _answers(client, f"http://127.0.0.1:{health_port}/readyz", process)
            # The first is what the reader itself wrote, the last what the balancer added.
            headers = [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.9")]
            answer = await client.post(
                f"/lists/{address}/join", data={"email": "ann@example.com"}, headers=httpx.Headers(headers)
            )
            assert answer.status_code == 200
    rows = await connection.fetch("SELECT peer FROM form_tallies")
    assert {row["peer"] for row in rows} == counted
