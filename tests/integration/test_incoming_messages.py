"""Incoming messages: stored once, handled once, recognised for seven days."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from services.ingress_smtp.shelf import Shelf
from shared.core.mailing import TargetKind, TargetState
from shared.core.membership import MemberRole
from shared.store import arrivals, handling, member_imports, messages, posts
from shared.store.arrivals import KnownAuthor
from shared.store.engine import Database, RawConnection
from shared.store.handling import Waiting
from shared.store.messages import NewMessage, NewTarget
from tests.integration import stored

TARGET = NewTarget("postmaster@lists.example.org", TargetKind.OPERATOR)


async def waiting_of(connection: RawConnection, message: NewMessage) -> Waiting:
    async with connection.transaction():
        waiting = await handling.take(connection, message.id)
    assert waiting is not None
    return waiting


async def test_authors_are_known_who_are_on_the_list_and_did_not_leave_it(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 3)
    await member_imports.import_rows(connection, list_id, [stored.new_member(4, role=MemberRole.OWNER)])
    await connection.execute("UPDATE members SET is_moderated = true WHERE email_key = 'member-1@example.com'")
    await connection.execute("UPDATE members SET status = 'held' WHERE email_key = 'member-2@example.com'")
    await connection.execute("UPDATE members SET status = 'unsubscribed' WHERE email_key = 'member-3@example.com'")
    keys = [*(f"member-{number}@example.com" for number in range(1, 5)), "stranger@example.com"]
    other_list_id = await stored.new_list(connection, 0)
    known, of_another_list, of_nobody = await arrivals.known_authors(
        connection, [(list_id, keys), (other_list_id, keys), (list_id, [])]
    )
    assert set(known) == {
        KnownAuthor(MemberRole.MEMBER, is_moderated=True),
        KnownAuthor(MemberRole.MEMBER),
        KnownAuthor(MemberRole.OWNER),
    }
    assert list(of_another_list) == list(of_nobody) == []


async def test_a_message_stored_twice_is_stored_once(connection: RawConnection, database_url: str) -> None:
    list_id = await stored.new_list(connection, 0)
    message = stored.new_message(TARGET, NewTarget("list@lists.example.org", TargetKind.LIST, list_id))
    await messages.store(connection, message)
    await messages.store(connection, message)
    database = Database(database_url, name="test")
    async with database.transaction() as session:
        found = await messages.find(session, message.id)
    await database.close()
    assert found is not None
    assert found[0].content == message.content
    assert [target.address for target in found[1]] == ["list@lists.example.org", "postmaster@lists.example.org"]


async def test_a_message_is_stored_whole_or_not_at_all(connection: RawConnection) -> None:
    with pytest.raises(Exception, match="foreign key"):
        await messages.store(
            connection, stored.new_message(NewTarget("list@lists.example.org", TargetKind.LIST, list_id=4711))
        )
    assert await connection.fetchval("SELECT count(*) FROM messages") == 0


async def test_messages_stored_together_keep_each_its_own_targets_and_reasons(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 0)
    to_list = NewTarget("list@lists.example.org", TargetKind.LIST, list_id)
    waits = NewTarget("held@lists.example.org", TargetKind.LIST, list_id, TargetState.HELD, "moderated", "Ann")
    new = [stored.new_message(to_list, TARGET), stored.new_message(waits), stored.new_message(TARGET)]
    await messages.store(connection, *new)
    await messages.store(connection, *new)
    targets = await connection.fetch("SELECT message_id, address, state FROM message_targets")
    assert sorted(map(tuple, targets)) == sorted(
        (message.id, target.address, target.state) for message in new for target in message.targets
    )
    held = await connection.fetch("SELECT message_id, address, because, author FROM held_posts")
    assert [tuple(row) for row in held] == [(new[1].id, waits.address, "moderated", "Ann")]
    kept = await connection.fetch("SELECT id, content FROM messages")
    assert {tuple(row) for row in kept} == {(message.id, message.content) for message in new}


async def test_a_message_that_cannot_be_stored_spoils_none_that_came_with_it(
    connection: RawConnection, database_url: str
) -> None:
    good = [stored.new_message(TARGET) for _ in range(5)]
    bad = stored.new_message(NewTarget("gone@lists.example.org", TargetKind.LIST, list_id=4711))
    database = Database(database_url, name="test ingress")
    shelf = Shelf(database)
    *well, failed = await asyncio.gather(*(shelf.store(each) for each in (*good, bad)), return_exceptions=True)
    await database.close()
    assert well == [None] * 5
    assert "foreign key" in str(failed)
    kept = await connection.fetch("SELECT id FROM messages")
    assert {row["id"] for row in kept} == {message.id for message in good}


async def test_a_message_whose_row_is_locked_is_waited_for(connection: RawConnection, database_url: str) -> None:
    message = stored.new_message(TARGET)
    await messages.store(connection, message)
    async with stored.connected(database_url) as sweep:
        async with sweep.transaction():
            await handling.mark_published(sweep, [message.id], again_after_seconds=30)
            taken = asyncio.create_task(waiting_of(connection, message))
        assert (await taken).targets == (TARGET,)


async def test_a_handled_message_is_left_alone(connection: RawConnection) -> None:
    message = stored.new_message(TARGET)
    await messages.store(connection, message)
    await handling.mark_handled(connection, message.id)
    async with connection.transaction():
        assert await handling.take(connection, message.id) is None
        assert await handling.take(connection, UUID(int=1)) is None
    assert await handling.publish_due(connection) == []


async def test_only_undecided_targets_are_taken(connection: RawConnection) -> None:
    message = stored.new_message(
        TARGET, NewTarget("b+x@lists.example.org", TargetKind.RETURN_PATH, state=TargetState.KEPT, because="kept")
    )
    await messages.store(connection, message)
    assert (await waiting_of(connection, message)).targets == (TARGET,)


async def test_a_message_that_nobody_announced_is_published_by_the_sweep(connection: RawConnection) -> None:
    message = stored.new_message(TARGET)
    await messages.store(connection, message, sweep_after_seconds=5)
    assert await handling.publish_due(connection) == []
    await connection.execute("UPDATE messages SET publish_due_at = publish_due_at - interval '6 s'")
    assert await handling.publish_due(connection) == [message.id]
    await handling.mark_published(connection, [message.id], again_after_seconds=30)
    assert await handling.publish_due(connection) == [], "it is due again in 30 seconds"
    await connection.execute("UPDATE messages SET publish_due_at = publish_due_at - interval '31 s'")
    assert await handling.publish_due(connection) == [message.id]


async def test_the_same_post_within_seven_days_is_a_duplicate_and_afterwards_is_not(
    connection: RawConnection,
) -> None:
    list_id, other_list_id = await stored.new_list(connection, 0), await stored.new_list(connection, 0)
    target = NewTarget("list@lists.example.org", TargetKind.LIST, list_id)
    first, again, late = (stored.new_message(target, fingerprint=b"same") for _ in range(3))
    for message in (first, again, late):
        await messages.store(connection, message)
    first_waiting, again_waiting, late_waiting = [await waiting_of(connection, m) for m in (first, again, late)]

    assert await posts.first_of_its_kind(connection, list_id, first_waiting) == first.id
    assert await posts.first_of_its_kind(connection, list_id, first_waiting) == first.id, "repeated, it is itself"
    assert await posts.first_of_its_kind(connection, list_id, again_waiting) == first.id
    assert await posts.first_of_its_kind(connection, other_list_id, again_waiting) == again.id

    await _pass(connection, timedelta(days=6, hours=23))
    assert await posts.first_of_its_kind(connection, list_id, again_waiting) == first.id
    await _pass(connection, timedelta(hours=2))
    assert await posts.first_of_its_kind(connection, list_id, late_waiting) == late.id
    assert await posts.first_of_its_kind(connection, list_id, again_waiting) == late.id


async def _pass(connection: RawConnection, time: timedelta) -> None:
    await connection.execute("UPDATE post_fingerprints SET seen_at = seen_at - $1::interval", time)


async def test_old_fingerprints_are_forgotten(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 0)
    old, young = stored.new_message(TARGET), stored.new_message(TARGET)
    for message in (old, young):
        await messages.store(connection, message)
    await posts.first_of_its_kind(connection, list_id, await waiting_of(connection, old))
    await _pass(connection, timedelta(days=8))
    await posts.first_of_its_kind(connection, list_id, await waiting_of(connection, young))
    await posts.forget_fingerprints(connection)
    assert await connection.fetchval("SELECT array_agg(message_id) FROM post_fingerprints") == [young.id]


async def test_of_two_copies_handled_at_once_one_is_the_first(connection: RawConnection, database_url: str) -> None:
    list_id = await stored.new_list(connection, 0)
    copies = [stored.new_message(TARGET, fingerprint=b"same") for _ in range(2)]
    for message in copies:
        await messages.store(connection, message)
    waiting = [await waiting_of(connection, message) for message in copies]
    async with stored.connected(database_url) as left, stored.connected(database_url) as right:
        firsts = await asyncio.gather(
            posts.first_of_its_kind(left, list_id, waiting[0]),
            posts.first_of_its_kind(right, list_id, waiting[1]),
        )
    assert firsts[0] == firsts[1]


async def test_what_became_of_it_is_written_down(connection: RawConnection) -> None:
    message = stored.new_message(TARGET)
    await messages.store(connection, message)
    await handling.decide(connection, message.id, TARGET.address, TargetState.DISTRIBUTED, mailing_id=7)
    row = await connection.fetchrow("SELECT state, because, mailing_id FROM message_targets")
    assert row is not None
    assert tuple(row) == ("distributed", "", 7)
