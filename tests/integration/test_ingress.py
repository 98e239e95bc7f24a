"""An ingress node with its real store and its real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from deploy.local.ports import free_port
from deploy.local.postgres import Postgres
from shared.broker.connection import connect, declare_topology
from shared.contracts.events import MailReceived
from shared.contracts.topology import TaskQueue, decode
from shared.core.mailing import TargetKind, TargetState
from shared.core.membership import DeliveryMode, MemberRole, MemberStatus, PostingPolicy
from shared.core.node import NodeKind
from shared.core.verp import return_path_local
from shared.store import member_imports, members, messages, node_settings
from shared.store.engine import Database
from shared.store.lists import MailingList
from tests.fakes.waiting import until
from tests.integration.ingress_process import POST, SECRET, post, running_ingress


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    """The store with one members-only list and one member."""
    store = Database(database_url, name="test", pool_size=2)
    mailing_list = MailingList(name="dev", domain="lists.test", posting_policy=PostingPolicy.MEMBERS)
    async with store.transaction() as session:
        session.add(mailing_list)
    ann = members.NewMember(
        "Ann@Example.org", "ann@example.org", "", MemberStatus.SUBSCRIBED, DeliveryMode.MAIL, MemberRole.MEMBER, "{}"
    )
    async with store.raw() as connection:
        await member_imports.import_rows(connection, mailing_list.id, [ann])
    yield store
    await store.close()


async def test_a_post_is_stored_when_250_is_said_and_announced_afterwards(
    database: Database, database_url: str, broker_url: str
) -> None:
    async with running_ingress(database_url, broker_url) as ingress:
        reply = await post(ingress.port)
        assert reply.startswith("250 2.0.0 Stored as ")
        message_id = UUID(reply.split()[-1])
        async with database.transaction() as session:
            found = await messages.find(session, message_id)
        assert found is not None
        message, [target] = found
        content = await stored_content(database, message_id)
        assert content.startswith(b"Received: from client.test ([127.0.0.1])\r\n\tby mx.lists.test with ESMTP id ")
        assert content.endswith(POST)
        assert message.publish_due_at is not None
        assert (target.kind, target.state) == (TargetKind.LIST, TargetState.RECEIVED)
        assert await announced(broker_url) == MailReceived(message_id=str(message_id))


async def stored_content(database: Database, message_id: UUID) -> bytes:
    async with database.raw() as connection:
        return bytes(await connection.fetchval("SELECT content FROM messages WHERE id = $1", message_id))


async def announced(broker_url: str) -> object:
    """The first event in the schedulers' queue."""
    connection = await connect(broker_url, "test")
    try:
        channel = await connection.channel()
        await declare_topology(channel)
        queue = await channel.get_queue(TaskQueue.TASKS.value, ensure=False)
        async with asyncio.timeout(20), queue.iterator(no_ack=True) as events:
            async for event in events:
                return decode(event.body)
    finally:
        await connection.close()
    raise AssertionError("the queue was closed")


async def test_refusals_name_their_reason(database: Database, database_url: str, broker_url: str) -> None:
    evil = POST.replace(b"ann@", b"evil@")
    async with running_ingress(database_url, broker_url) as ingress:
        assert (await post(ingress.port, recipient="nobody@lists.test")).startswith("550 5.1.1")
        assert (await post(ingress.port, recipient="ann@example.org")).startswith("550 5.7.1")
        assert await post(ingress.port, evil) == "550 5.7.1 Only members may post to dev@lists.test"


async def test_return_paths_and_postmaster_are_stored_for_the_scheduler(
    database: Database, database_url: str, broker_url: str
) -> None:
    local = return_path_local(7, SECRET.encode()).upper()
    async with running_ingress(database_url, broker_url) as ingress:
        for recipient in (f"{local}@Lists.Test", "postmaster", "dev-owner@lists.test"):
            reply = await post(ingress.port, recipient=recipient, sender="")
            assert reply.startswith("250")
            async with database.transaction() as session:
                found = await messages.find(session, UUID(reply.split()[-1]))
            assert found is not None
            assert found[1][0].state is TargetState.RECEIVED
            assert found[1][0].kind in (TargetKind.OPERATOR, TargetKind.RETURN_PATH)


async def test_where_the_disk_is_full_nothing_is_stored_until_there_is_room(
    database: Database, database_url: str, broker_url: str
) -> None:
    async with running_ingress(database_url, broker_url) as ingress, database.raw() as connection:
        before = await connection.fetchval("SELECT count(*) FROM messages")
        # As PostgreSQL says it, in the middle of the statement: the message's row is made, its targets are not.
        await connection.execute(
            """
            CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100';
            END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON message_targets FOR EACH ROW EXECUTE FUNCTION full_disk()
            """
        )
        try:
            for _ in range(2):
                assert (await post(ingress.port)).startswith("452 4.3.1 ")
            assert await connection.fetchval("SELECT count(*) FROM messages") == before
        finally:
            await connection.execute("DROP TRIGGER full_disk ON message_targets")
        assert (await post(ingress.port)).startswith("250 ")
        assert await connection.fetchval("SELECT count(*) FROM messages") == before + 1


async def test_without_a_broker_mail_is_taken_without_delay(database: Database, database_url: str) -> None:
    async with running_ingress(database_url, f"amqp://guest:guest@127.0.0.1:{free_port()}/") as ingress:
        async with asyncio.timeout(4):  # less than a publisher waits
            assert (await post(ingress.port)).startswith("250")


async def test_without_a_database_recipients_are_deferred(broker_url: str) -> None:
    async with running_ingress(f"postgresql://nobody:x@127.0.0.1:{free_port()}/none", broker_url) as ingress:
        assert (await post(ingress.port)).startswith("451 4.3.0")


async def test_a_message_of_24_mb_is_stored_byte_for_byte(
    database: Database, database_url: str, broker_url: str
) -> None:
    content = POST + (b"x" * 76 + b"\r\n") * (24 * 1024 * 1024 // 78)
    pauses = [0.0]

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            pauses.append(loop.time() - before)

    async with running_ingress(database_url, broker_url) as ingress:
        watching = asyncio.create_task(watch())
        reply = await post(ingress.port, content)
        watching.cancel()
        assert reply.startswith("250")
        assert (await stored_content(database, UUID(reply.split()[-1]))).endswith(content)
        assert (await post(ingress.port, content + content)).startswith("552 5.3.4")
    assert max(pauses) < 1.0


async def test_while_the_database_is_away_recipients_are_deferred_and_the_node_obeys_afterwards(
    database: Database, database_url: str, broker_url: str, postgres_server: Postgres
) -> None:
    async with running_ingress(database_url, broker_url, lease_seconds=3.0) as ingress:
        await asyncio.to_thread(postgres_server.kill)
        try:
            await until(lambda: not ingress.readiness()["database"])
            assert ingress.readiness()["accepting"], "a balancer leaves it in: it says 451 itself"
            assert (await post(ingress.port)).startswith("451 4.3.0")
            await asyncio.sleep(3.5)  # A whole lease.
            assert (await post(ingress.port)).startswith("451 4.3.0")
        finally:
            await asyncio.to_thread(postgres_server.start)
        async with database.transaction() as session:
            await node_settings.configure(session, NodeKind.INGRESS, "ingress-1", {"accepting_enabled": False})
        await until(lambda: not ingress.readiness()["accepting"])
