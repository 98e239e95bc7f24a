from __future__ import annotations

import asyncio

import pytest

from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.mail.notice_kinds import NoticeKind
from shared.runtime import notices
from shared.runtime.notices import Notice
from shared.store import batches, contents, mailings
from shared.store.engine import RawConnection
from tests.integration import stored

ANN = Address.parse("Ann@example.com")


def about(list_id: int, cause: str = "a test", **fields: object) -> Notice:
    return Notice(NoticeKind.GOODBYE, cause, list_id, ANN, **fields)  # type: ignore[arg-type]


async def test_a_notice_is_one_mail_in_the_express_lane(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 0)
    async with connection.transaction():
        (batch_id,) = await notices.send(connection, about(list_id))
    row = await connection.fetchrow("SELECT * FROM batches WHERE id = $1", batch_id)
    assert row is not None
    assert (row["lane"], row["state"], row["open"]) == (Lane.EXPRESS.value, "released", 1)
    content = await contents.load(connection, row["mailing_id"])
    assert content is not None
    assert (content.kind, content.return_domain) == ("notice", "lists.example.org")
    assert not content.personal
    assert b"\r\nAuto-Submitted: auto-generated\r\n" in content.content
    claimed = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert claimed is not None
    assert [recipient.address for recipient in claimed.recipients] == ["Ann@example.com"]
    await stored.record_all(connection, claimed, stored.DELIVERED)
    async with connection.transaction():
        assert await mailings.finish(connection) == [row["mailing_id"]]


async def test_there_is_one_notice_of_a_cause_however_often_it_is_sent(
    connection: RawConnection, database_url: str
) -> None:
    list_id = await stored.new_list(connection, 0)

    async def send() -> int:
        async with stored.connected(database_url) as own, own.transaction():
            return len(await notices.send(own, about(list_id)))

    assert sorted(await asyncio.gather(*(send() for _ in range(5)))) == [0, 0, 0, 0, 1]
    assert await connection.fetchval("SELECT count(*) FROM mailings") == 1
    assert await connection.fetchval("SELECT count(*) FROM messages") == 1


async def test_what_is_rolled_back_is_not_sent_and_its_cause_is_free(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 0)
    with pytest.raises(ZeroDivisionError):
        async with connection.transaction():
            await notices.send(connection, about(list_id))
            raise ZeroDivisionError
    async with connection.transaction():
        assert await notices.send(connection, about(list_id))


async def test_a_suppressed_address_gets_none(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 0)
    await connection.execute(
        "INSERT INTO suppressions (email_key, email, reason) VALUES ($1, $1, 'hard_bounce')", ANN.key
    )
    async with connection.transaction():
        assert await notices.send(connection, about(list_id)) == []
    (mailing_id,) = [row["id"] for row in await connection.fetch("SELECT id FROM mailings")]
    assert await stored.states(connection, mailing_id) == {"suppressed": 1}


async def test_the_lists_own_template_goes_before_that_of_all_lists(connection: RawConnection) -> None:
    list_id, other_id = await stored.new_list(connection, 0), await stored.new_list(connection, 0)
    await connection.execute(
        "INSERT INTO notice_templates (name, list_id, subject, body) VALUES"
        " ('goodbye', NULL, 'All', 'Bye from all.'), ('goodbye', $1, 'Own', 'Bye {{recipient}}.')",
        list_id,
    )
    for cause, to_list in (("own", list_id), ("all", other_id)):
        async with connection.transaction():
            await notices.send(connection, about(to_list, cause))
    rows = await connection.fetch(
        "SELECT n.cause, m.subject, m.content FROM notices n JOIN mailings ON mailings.id = n.mailing_id"
        " JOIN messages m ON m.id = mailings.message_id ORDER BY n.cause"
    )
    assert [(row["cause"], row["subject"]) for row in rows] == [("all", "All"), ("own", "Own")]
    assert rows[1]["content"].endswith(b"Bye Ann@example.com.\r\n")


async def test_a_notice_that_a_node_took_down_with_it_is_taken_over(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 0)
    async with connection.transaction():
        (batch_id,) = await notices.send(connection, about(list_id))
    lease = await stored.new_lease(connection)
    assert await stored.claim(connection, batch_id, lease) is not None
    assert await stored.lose(connection, lease) == 1
    assert await batches.take_over_orphans(connection) == 0
