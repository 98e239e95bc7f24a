"""PostgreSQL killed under load: every fault is `StoreUnavailable`, and the same pool goes on afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from deploy.local.child import descendants
from deploy.local.postgres import Postgres
from services.outbound_sender.outcomes import Recorder
from shared.core.node import NodeKind
from shared.runtime.lease import LeaseKeeper
from shared.store import nodes
from shared.store.claims import Recipient
from shared.store.engine import Database, StoreUnavailable
from shared.store.nodes import Configuration, Vitals
from tests.fakes.waiting import until
from tests.integration import stored
from tests.integration.stored import DELIVERED, report


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test", pool_size=6)
    yield database
    await database.close()


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """The server and its sessions stand still: connections stay, nobody answers."""
    pids = [server.pid, *descendants(server.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_whatever_was_under_way_says_that_the_database_is_down_and_works_again_afterwards(
    database: Database, postgres_server: Postgres
) -> None:
    succeeded, failures = [0] * 5, list[BaseException]()
    unavailable = 0
    is_over = False

    async def raw() -> None:
        async with database.raw() as connection:
            await connection.fetchval("SELECT count(*) FROM pg_class, generate_series(1, 20)")

    async def raw_transaction() -> None:
        async with database.raw_transaction() as connection:
            await connection.execute("SELECT pg_sleep(0.01)")
            await connection.fetch("SELECT * FROM nodes")

    async def prepared() -> None:
        async with database.raw() as connection, connection.transaction():
            await connection.fetch("SELECT $1::int + generate_series(1, 5000)", 1)

    async def session() -> None:
        async with database.transaction() as own:
            await (await own.connection()).execute(text("SELECT pg_sleep(0.01)"))

    async def copy() -> None:
        async with database.raw_transaction() as connection:
            await connection.execute("CREATE TEMPORARY TABLE copied (n int) ON COMMIT DROP")
            await connection.copy_records_to_table("copied", records=[(n,) for n in range(2000)])

    async def repeat(number: int, call: Callable[[], Awaitable[None]]) -> None:
        nonlocal unavailable
        while not is_over:
            try:
                await call()
                succeeded[number] += 1
            except StoreUnavailable:
                unavailable += 1
                await asyncio.sleep(0.01)
            except Exception as error:  # noqa: BLE001 - what this test looks for
                failures.append(error)

    calls = (raw, raw_transaction, prepared, session, copy)
    workers = [asyncio.create_task(repeat(n, call)) for n, call in enumerate(calls) for _ in range(3)]

    async def all_go_on() -> None:
        before = list(succeeded)
        await until(
            lambda: all(now >= then + 3 for now, then in zip(succeeded, before, strict=True)), within_seconds=60
        )

    async def many_are_refused() -> None:
        before = unavailable + len(workers)  # those that were under way are cut off
        await until(lambda: unavailable >= before + 100)

    try:
        for end in (postgres_server.kill, postgres_server.stop, postgres_server.kill):
            await all_go_on()
            await asyncio.to_thread(end)
            await many_are_refused()
            await asyncio.to_thread(postgres_server.start)
        await all_go_on()
    finally:
        is_over = True
        await asyncio.gather(*workers)
    assert failures == []


async def test_a_transaction_that_was_cut_off_leaves_nothing_to_the_next_user(database_url: str) -> None:
    database = Database(database_url, name="test", pool_size=1)
    for pause_seconds in (0.0, 0.001, 0.005, 0.02):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(pause_seconds), database.raw_transaction() as connection:
                await connection.execute("SELECT pg_sleep(5)")
        async with database.raw() as connection:
            assert not connection.is_in_transaction()
            assert await connection.fetchval("SELECT 1") == 1
    await database.close()


async def test_outcomes_reported_during_an_outage_are_recorded_once_each(
    database: Database, postgres_server: Postgres, database_url: str
) -> None:
    async with stored.connected(database_url) as connection:
        await stored.empty(connection)
        claimed = await stored.claimed_mailing(connection, 600, await stored.new_lease(connection))

    async def cancel_nothing(_to_cancel: object) -> None:
        raise AssertionError("nothing was late")

    recorder = Recorder(
        database,
        node_name=lambda: "outbound-1",
        unstarted_of=lambda batch_ids: dict.fromkeys(batch_ids, 0),
        on_cancelled=cancel_nothing,
    )
    running = asyncio.create_task(recorder.run())
    recipients, recorded = iter(claimed.recipients), list[Recipient]()

    async def slot() -> None:
        for recipient in recipients:
            await recorder.record(report(claimed, recipient, DELIVERED))
            recorded.append(recipient)
            await asyncio.sleep(0.005)

    async def are_recorded(count: int) -> None:
        await until(lambda: len(recorded) >= count)

    slots = [asyncio.create_task(slot()) for _ in range(10)]
    for so_many in (150, 350):
        await are_recorded(so_many)
        await asyncio.to_thread(postgres_server.kill)
        await asyncio.to_thread(postgres_server.start)
    async with asyncio.timeout(60):
        await asyncio.gather(*slots)
    assert not running.done()
    running.cancel()
    async with stored.connected(database_url) as connection:
        row = await stored.batch_row(connection, claimed.id)
        assert (row.state, row.open, row.delivered) == ("closed", 0, 600)
        assert await connection.fetchval("SELECT count(*) FROM attempts") == 600
        await stored.assert_consistent(connection)


async def test_a_lease_outlives_a_database_that_is_killed_and_one_that_hangs(
    database_url: str, postgres_server: Postgres
) -> None:
    configured, lost = list[Configuration](), list[bool]()
    database = Database(database_url, name="lease", pool_size=1)
    keeper = LeaseKeeper(
        database,
        NodeKind.OUTBOUND,
        None,
        lease_seconds=3.0,
        vitals=Vitals,
        on_configuration=configured.append,
        on_lost=lambda: lost.append(True),
    )
    await keeper.acquire()
    running = asyncio.create_task(keeper.run())

    async def renewed() -> None:
        seen = len(configured)
        await until(lambda: len(configured) >= seen + 2)
        assert keeper.is_fresh

    await renewed()
    await asyncio.to_thread(postgres_server.kill)
    await until(lambda: not keeper.is_fresh)
    await asyncio.to_thread(postgres_server.start)
    await renewed()
    with frozen(postgres_server):
        await until(lambda: not keeper.is_fresh)
    await renewed()
    assert lost == []
    running.cancel()
    await keeper.leave()
    await database.close()


async def test_a_node_knows_its_configuration_at_once_and_not_with_the_first_renewal(database_url: str) -> None:
    configured = list[Configuration]()
    database = Database(database_url, name="lease", pool_size=1)
    keeper = LeaseKeeper(
        database,
        NodeKind.OUTBOUND,
        None,
        lease_seconds=300.0,  # it is renewed after 40 s
        vitals=Vitals,
        on_configuration=configured.append,
        on_lost=lambda: None,
    )
    await keeper.acquire()
    running = asyncio.create_task(keeper.run())
    await until(lambda: bool(configured), within_seconds=20)
    running.cancel()
    await keeper.leave()
    await database.close()


async def test_a_node_whose_lease_was_taken_over_gets_another(database_url: str) -> None:
    async with stored.connected(database_url) as connection:
        await stored.empty(connection)
        lost = list[bool]()
        database = Database(database_url, name="lease", pool_size=1)
        keeper = LeaseKeeper(
            database,
            NodeKind.OUTBOUND,
            "berlin",
            lease_seconds=1.5,
            vitals=Vitals,
            on_configuration=lambda _configuration: None,
            on_lost=lambda: lost.append(keeper.is_fresh),
        )
        await keeper.acquire()
        first = keeper.lease
        running = asyncio.create_task(keeper.run())
        await connection.execute("UPDATE nodes SET state = 'left'")
        await until(lambda: keeper.lease not in (first, None))
        assert lost == [False]
        assert keeper.lease is not None
        assert list(await nodes.live_leases(connection)) == [keeper.lease.incarnation]
        running.cancel()
        await keeper.leave()
        await database.close()
