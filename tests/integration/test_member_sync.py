"""Members from a file at an address: taken as an import takes them, and from nowhere but where the operator says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.scheduler.fetching import TIMEOUT_SECONDS, Fetcher
from services.scheduler.kinds.member_sync import MemberSync
from services.scheduler.run import Run, TaskFailed
from shared.contracts.task_kinds.member_sync import ALLOWED_PLACES, MemberSyncParameters
from shared.core.remote_file import RefusedAddress
from shared.dns.resolver import NoSuchDomainError, Resolver
from shared.store import task_runs
from shared.store.engine import Database, RawConnection
from shared.transfer.importing import Imported
from tests.fakes.file_host import csv_of, file_host
from tests.integration import stored
from tests.integration.test_tasks import new_run


class ScriptedResolver(Resolver):
    """Knows the addresses that a test gives it, one answer after another."""

    def __init__(self, **answers: list[str]) -> None:
        super().__init__(("127.0.0.1", 1))
        self.answers = {name.replace("_", "."): list(addresses) for name, addresses in answers.items()}

    async def addresses(self, host: str, family: str) -> tuple[str, ...]:
        if host not in self.answers:
            raise NoSuchDomainError(f"{host} does not exist")
        return tuple(address for address in self.answers[host] if (":" in address) == (family == "AAAA"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


def fetcher(*places: str, allow_private_hosts: bool = True, **more: Any) -> Fetcher:
    resolver = ScriptedResolver(inside_example=["127.0.0.1", "::1", "10.0.0.1"], files_example=["127.0.0.1"])
    return Fetcher(resolver, places, allow_private_hosts=allow_private_hosts, **more)


async def synced(
    connection: RawConnection, database: Database, address: str, url: str, place: str, **more: Any
) -> Imported:
    run_id = await new_run(connection)
    claimed = await task_runs.claim(connection, run_id, token=uuid4(), node_name="scheduler-1", lease_seconds=30)
    assert claimed is not None
    run = Run(claimed, database, lease_seconds=30, is_leaving=lambda: False)
    given = {"list": address, "url": url, **more}
    parameters = MemberSyncParameters.model_validate(given, context={ALLOWED_PLACES: [place]})
    return await MemberSync(fetcher(place))(run, parameters)


async def list_address(connection: RawConnection, list_id: int) -> str:
    name = await connection.fetchval("SELECT name FROM mailing_lists WHERE id = $1", list_id)
    return f"{name}@lists.example.org"


async def statuses(connection: RawConnection) -> dict[str, str]:
    rows = await connection.fetch("SELECT email_key, status FROM members")
    return {row["email_key"]: row["status"] for row in rows}


FILE = csv_of("member-1@example.com", "Member-2@example.com", "new@example.com", "no address", "gone@example.com")


async def test_members_are_taken_and_who_left_is_not_brought_back(
    connection: RawConnection, database: Database
) -> None:
    list_id = await stored.new_list(connection, 2)
    await connection.execute("UPDATE members SET status = 'unsubscribed' WHERE email_key = 'member-2@example.com'")
    await connection.execute(
        "INSERT INTO suppressions (email_key, email, reason) VALUES ('gone@example.com', 'gone@example.com', 'manual')"
    )
    address = await list_address(connection, list_id)
    async with file_host(lambda _path: FILE) as host:
        for added in (1, 0):
            result = await synced(connection, database, address, host.url(), host.place)
            assert (result.added, result.updated, result.left_alone) == (added, 2 - added, 2)
            assert [error.line for error in result.errors] == [5]
        assert host.hosts == {host.place}
    assert await statuses(connection) == {
        "member-1@example.com": "subscribed",
        "member-2@example.com": "unsubscribed",
        "new@example.com": "subscribed",
    }


async def test_a_preview_says_what_would_be_and_changes_nothing(connection: RawConnection, database: Database) -> None:
    address = await list_address(connection, await stored.new_list(connection, 2))
    before = await statuses(connection)
    async with file_host(lambda _path: FILE) as host:
        result = await synced(connection, database, address, host.url(), host.place, preview=True)
    assert (result.added, result.updated, result.rejected) == (2, 2, 1)
    assert await statuses(connection) == before


async def test_a_list_that_is_not_there_and_a_file_that_is_none_fail(
    connection: RawConnection, database: Database
) -> None:
    address = await list_address(connection, await stored.new_list(connection, 0))
    async with file_host(lambda _path: csv_of().replace(b"email", b"name!")) as host:
        with pytest.raises(TaskFailed, match="no list"):
            await synced(connection, database, "none@lists.example.org", host.url(), host.place)
        with pytest.raises(TaskFailed, match="no column email"):
            await synced(connection, database, address, host.url(), host.place)


async def test_a_database_that_goes_away_is_named_as_such(connection: RawConnection, database: Database) -> None:
    address = await list_address(connection, await stored.new_list(connection, 0))
    await connection.execute(
        "CREATE FUNCTION down() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'shutting down' USING ERRCODE = '57P01'; END $$"
    )
    await connection.execute("CREATE TRIGGER down BEFORE INSERT ON members EXECUTE FUNCTION down()")
    try:
        async with file_host(lambda _path: FILE) as host:
            with pytest.raises(TaskFailed, match=r"The database was away: .*shutting down"):
                await synced(connection, database, address, host.url(), host.place)
    finally:
        await connection.execute("DROP FUNCTION down CASCADE")


async def fetched(fetcher: Fetcher, url: str) -> bytes:
    return b"".join([chunk async for chunk in fetcher.chunks(url)])


BODY = b"email\r\n"


@pytest.mark.parametrize(
    ("answer", "because"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:25/\r\nContent-Length: 0\r\n\r\n", "no redirect"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + BODY, "before its end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n" + BODY, "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + BODY, "where the file ends"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", "larger than 1,000 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n",
            "larger than",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\n" + BODY, "compressed"),
        (b"220 mail.example ESMTP\r\n", "BadStatusLine"),
        (b"", "RemoteDisconnected"),
    ],
)
async def test_what_is_no_whole_file_fails_with_a_sentence(answer: bytes, because: str) -> None:
    async with file_host(lambda _path: answer) as host:
        with pytest.raises(TaskFailed, match=because):
            await fetched(fetcher(host.place, max_bytes=1000), host.url())
        assert sum(host.asked.values()) == 1


async def test_a_host_that_takes_too_long_fails() -> None:
    async with file_host(lambda _path: FILE, latency_seconds=30) as host:
        with pytest.raises(TaskFailed, match="too long"):
            await asyncio.wait_for(fetched(fetcher(host.place, within_seconds=0.2), host.url()), 10)


async def test_a_host_that_falls_silent_is_left_at_once() -> None:
    is_left = asyncio.Event()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n" + BODY)
        await reader.read()
        is_left.set()
        writer.close()

    async with await asyncio.start_server(begin, "127.0.0.1", 0) as server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(TaskFailed, match="too long"):
            await fetched(fetcher(place, within_seconds=0.5), f"http://{place}/x")
        # Not when the thread that reads has had enough of the silence.
        await asyncio.wait_for(is_left.wait(), TIMEOUT_SECONDS / 2)


async def test_a_name_that_leads_into_our_own_network_is_not_followed() -> None:
    async with file_host(lambda _path: FILE) as host:
        place = f"inside.example:{host.port}"
        with pytest.raises(TaskFailed, match="no public address"):
            await fetched(fetcher(place, allow_private_hosts=False), f"http://{place}/x")
        with pytest.raises(TaskFailed, match="no public address"):
            await fetched(fetcher(host.place, allow_private_hosts=False), host.url())
        with pytest.raises(RefusedAddress):
            await fetched(fetcher("files.example"), host.url())
        assert not host.asked


async def test_what_was_looked_up_is_connected_to_whatever_the_name_says_later() -> None:
    resolver = ScriptedResolver(files_example=["127.0.0.1"])
    async with file_host(lambda _path: FILE) as host:
        place = f"files.example:{host.port}"
        assert await fetched(Fetcher(resolver, [place], allow_private_hosts=True), f"http://{place}/x")
        assert host.hosts == {place}, "the system's own lookup, which knows no such name, was not asked"


async def test_a_name_that_does_not_exist_fails() -> None:
    with pytest.raises(TaskFailed, match="does not exist"):
        await fetched(fetcher("nowhere.example"), "http://nowhere.example/x")
