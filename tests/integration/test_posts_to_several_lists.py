"""Whoever is on several lists gets one copy of a post to all of them, and a list has a post once, whatever its way."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from shared.contracts.topology import Lane
from shared.core.mailing import MailingKind, TargetKind, TargetState
from shared.store import expansion, handling, mailings, member_imports, messages, posts
from shared.store.engine import RawConnection
from shared.store.messages import NewMessage, NewTarget
from tests.integration import stored

MESSAGE_ID = "<1@example.org>"


async def mailing_of(connection: RawConnection, list_id: int, message_id: str = MESSAGE_ID) -> int:
    """A mailing of a copy of the post, not expanded yet."""
    target = NewTarget("list@lists.example.org", TargetKind.LIST, list_id)
    message = replace(stored.new_message(target), message_id=message_id)
    await messages.store(connection, message)
    async with connection.transaction():
        return await mailings.create(
            connection,
            kind=MailingKind.POST,
            lane=Lane.POSTS,
            message_id=message.id,
            list_id=list_id,
            return_domain="lists.example.org",
            subject="Hello",
            expand_again_after_seconds=5,
        )


async def recipients(connection: RawConnection, mailing_id: int) -> set[str]:
    rows = await connection.fetch("SELECT recipient_key FROM deliveries WHERE mailing_id = $1", mailing_id)
    return {row["recipient_key"].partition("@")[0] for row in rows}


async def lists_with(connection: RawConnection, *numbers: range) -> list[int]:
    """A list for each range of members."""
    made = []
    for each in numbers:
        made.append(await stored.new_list(connection, 0))
        await member_imports.import_rows(connection, made[-1], [stored.new_member(number) for number in each])
    return made


async def test_a_member_of_both_gets_one_copy(connection: RawConnection) -> None:
    first, second = await lists_with(connection, range(1, 4), range(2, 6))
    mailing_ids = [await mailing_of(connection, list_id) for list_id in (first, second)]
    for mailing_id in mailing_ids:
        await stored.expand_all(connection, mailing_id)
    assert await recipients(connection, mailing_ids[0]) == {"member-1", "member-2", "member-3"}
    assert await recipients(connection, mailing_ids[1]) == {"member-4", "member-5"}
    assert await connection.fetchval("SELECT recipients FROM mailings WHERE id = $1", mailing_ids[1]) == 2


async def test_posts_with_one_name_are_distributed_one_after_the_other(
    connection: RawConnection, database_url: str
) -> None:
    one, other = await lists_with(connection, range(1, 2), range(1, 2))
    waiting = []
    for list_id in (one, other):
        message = await came(connection, list_id, through_a_list=False)
        async with connection.transaction():
            taken = await handling.take(connection, message.id)
            assert taken is not None
            waiting.append(taken)
    second = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            await posts.take_turns(connection, waiting[0])
            with pytest.raises(asyncpg.LockNotAvailableError):
                async with second.transaction():
                    await second.execute("SET LOCAL lock_timeout = '50ms'")
                    await posts.take_turns(second, waiting[1])
        async with second.transaction():
            await posts.take_turns(second, waiting[1])
    finally:
        await second.close()


async def test_it_makes_no_difference_which_mailing_is_expanded_first(connection: RawConnection) -> None:
    first, second = await lists_with(connection, range(1, 4), range(2, 6))
    mailing_ids = [await mailing_of(connection, list_id) for list_id in (first, second)]
    # One page of the first, which the second overtakes.
    async with connection.transaction():
        await expansion.expand_page(connection, mailing_ids[0], page_size=2, expand_again_after_seconds=30)
    for mailing_id in reversed(mailing_ids):
        await stored.expand_all(connection, mailing_id, page_size=2)
    assert await recipients(connection, mailing_ids[0]) == {"member-1", "member-2", "member-3"}
    assert await recipients(connection, mailing_ids[1]) == {"member-4", "member-5"}


async def test_a_list_that_does_not_want_that_serves_its_members_itself(connection: RawConnection) -> None:
    for which in (0, 1):
        lists = await lists_with(connection, range(1, 4), range(1, 4))
        await connection.execute("UPDATE mailing_lists SET one_copy_across_lists = false WHERE id = $1", lists[which])
        mailing_ids = [await mailing_of(connection, list_id, f"<{which}@example.org>") for list_id in lists]
        for mailing_id in mailing_ids:
            await stored.expand_all(connection, mailing_id)
            assert len(await recipients(connection, mailing_id)) == 3


async def test_other_posts_and_posts_without_a_name_and_cancelled_ones_take_nothing_away(
    connection: RawConnection,
) -> None:
    first, second = await lists_with(connection, range(1, 4), range(1, 4))
    for one, other in ((MESSAGE_ID, "<2@example.org>"), ("", "")):
        mailing_ids = [await mailing_of(connection, first, one), await mailing_of(connection, second, other)]
        for mailing_id in mailing_ids:
            await stored.expand_all(connection, mailing_id)
            assert len(await recipients(connection, mailing_id)) == 3
    cancelled = await mailing_of(connection, first, "<3@example.org>")
    await connection.execute("UPDATE mailings SET cancelled_at = now() WHERE id = $1", cancelled)
    later = await mailing_of(connection, second, "<3@example.org>")
    await stored.expand_all(connection, later)
    assert len(await recipients(connection, later)) == 3


async def came(connection: RawConnection, list_id: int, *, through_a_list: bool) -> NewMessage:
    target = NewTarget("list@lists.example.org", TargetKind.LIST, list_id)
    message = replace(stored.new_message(target), message_id=MESSAGE_ID, came_through_a_list=through_a_list)
    await messages.store(connection, message)
    return message


async def first_of(connection: RawConnection, list_id: int, message: NewMessage) -> object:
    async with connection.transaction():
        waiting = await handling.take(connection, message.id)
        assert waiting is not None
        return await posts.same_by_another_way(connection, list_id, waiting)


async def test_a_post_that_comes_by_another_list_too_is_known(connection: RawConnection) -> None:
    for ways in ((False, True), (True, False), (True, True)):
        list_id = await stored.new_list(connection, 0)
        first, second = [await came(connection, list_id, through_a_list=way) for way in ways]
        assert await first_of(connection, list_id, first) is None, "nothing is decided about the other"
        await handling.decide(connection, first.id, "list@lists.example.org", TargetState.DISTRIBUTED)
        assert await first_of(connection, list_id, second) == first.id
        assert await first_of(connection, list_id, first) is None
        other_list = await stored.new_list(connection, 0)
        assert await first_of(connection, other_list, second) is None


async def test_two_posts_with_one_name_that_came_directly_are_two(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 0)
    first, second = [await came(connection, list_id, through_a_list=False) for _ in range(2)]
    await handling.decide(connection, first.id, "list@lists.example.org", TargetState.DISTRIBUTED)
    assert await first_of(connection, list_id, second) is None
