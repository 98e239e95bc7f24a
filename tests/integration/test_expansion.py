"""Expansion: one delivery for each member who wants mail, whatever is repeated or interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.scheduler.tasks.destinations import Destinations
from services.scheduler.tasks.expansion import Expand
from shared.contracts.commands import ExpandMailing
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.mailing import MailingKind, TargetKind
from shared.core.membership import DeliveryMode, MemberStatus
from shared.dns.resolver import LookupFailedError, MxRecord
from shared.store import expansion, mailings, member_imports, messages, suppressions
from shared.store.engine import Database, RawConnection
from shared.store.expansion import ExpandedPage
from shared.store.messages import NewTarget
from shared.store.suppressions import SuppressionReason
from tests.integration import stored


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


async def expand_page(connection: RawConnection, mailing_id: int, size: int) -> ExpandedPage | None:
    async with connection.transaction():
        return await expansion.expand_page(connection, mailing_id, page_size=size, expand_again_after_seconds=30)


async def recipients(connection: RawConnection, mailing_id: int) -> list[str]:
    rows = await connection.fetch("SELECT recipient_key FROM deliveries WHERE mailing_id = $1 ORDER BY id", mailing_id)
    return [row["recipient_key"] for row in rows]


async def counted(connection: RawConnection, mailing_id: int) -> tuple[str, int, int]:
    row = await connection.fetchrow("SELECT state, recipients, suppressed FROM mailings WHERE id = $1", mailing_id)
    assert row is not None
    return (row["state"], row["recipients"], row["suppressed"])


@pytest.mark.parametrize("page_size", [1, 3, 4, 11, 12, 13, 100])
async def test_pages_of_any_size_reach_every_member_once(connection: RawConnection, page_size: int) -> None:
    mailing_id = await stored.new_mailing(connection, 12, expand=False)
    await stored.expand_all(connection, mailing_id, page_size)
    assert await recipients(connection, mailing_id) == [f"member-{n}@example.com" for n in range(1, 13)]
    assert await connection.fetchval("SELECT count(*) FROM outstanding") == 12
    assert await counted(connection, mailing_id) == ("running", 12, 0)


@pytest.mark.parametrize("pages_before", [0, 1, 2, 3])
async def test_an_expansion_cut_off_in_any_page_goes_on_from_its_row(
    connection: RawConnection, database_url: str, pages_before: int
) -> None:
    mailing_id = await stored.new_mailing(connection, 10, expand=False)
    async with stored.connected(database_url) as dying:
        for _ in range(pages_before):
            await expand_page(dying, mailing_id, 3)
        # The next page is made and not committed.
        cut_off = dying.transaction()
        await cut_off.start()
        await expansion.expand_page(dying, mailing_id, page_size=3, expand_again_after_seconds=30)
    await stored.expand_all(connection, mailing_id, 3)
    assert len(await recipients(connection, mailing_id)) == 10
    assert await counted(connection, mailing_id) == ("running", 10, 0)


async def test_expanding_an_expanded_mailing_does_nothing(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 5)
    assert await expand_page(connection, mailing_id, 3) is None
    assert await expand_page(connection, 4711, 3) is None
    assert await counted(connection, mailing_id) == ("running", 5, 0)


class FakeDns:
    """Mail exchangers by domain, by preference; a domain that is not there exists and answers nothing."""

    def __init__(self, hosts: dict[str, list[str]]) -> None:
        self._hosts = hosts
        self.asked: list[str] = []

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        self.asked.append(domain)
        if domain not in self._hosts:
            raise LookupFailedError(domain)
        return tuple(MxRecord(10 * place, host) for place, host in enumerate(self._hosts[domain], start=1))


def new_task(database: Database, *, page_size: int, dns: FakeDns | None = None) -> Expand:
    return Expand(
        database,
        page_size=page_size,
        stalled_after_seconds=30,
        on_page=lambda: None,
        destinations=Destinations(database, dns or FakeDns({})),
    )


async def test_recipients_are_made_under_the_limit_of_their_domain(
    connection: RawConnection, database: Database
) -> None:
    mailing_id = await stored.new_mailing(connection, 8, expand=False)
    await connection.execute(
        "UPDATE members SET email_key = 'm' || id || '@' || (ARRAY['one.test', 'a.two.test', 'two.test', 'big.test',"
        " 'small.test', 'silent.test', 'plain.test'])[1 + id % 7]"
    )
    for pattern in ("one.test", "*.two.test", "mx:*.provider.test"):
        await connection.execute("INSERT INTO domain_limits (pattern) VALUES ($1)", pattern)
    dns = FakeDns(
        {
            "big.test": ["mx1.provider.test"],
            "small.test": ["own.small.test", "mx.provider.test"],
            "plain.test": ["mx.plain.test"],
            "two.test": [],
        }
    )
    await new_task(database, page_size=5, dns=dns)(ExpandMailing(mailing_id))
    rows = await connection.fetch(
        "SELECT DISTINCT split_part(d.recipient_key, '@', -1) AS domain, o.domain_limit"
        " FROM outstanding o JOIN deliveries d ON d.id = o.delivery_id"
    )
    assert {row["domain"]: row["domain_limit"] for row in rows} == {
        "one.test": "one.test",
        "a.two.test": "*.two.test",
        "two.test": "",
        "big.test": "mx:*.provider.test",
        "small.test": "mx:*.provider.test",
        "silent.test": "",
        "plain.test": "",
    }
    assert not {"one.test", "a.two.test"} & set(dns.asked), "whose name is limited, nobody asks about"
    assert max(dns.asked.count(domain) for domain in set(dns.asked) - {"silent.test"}) == 1


async def test_two_schedulers_at_one_mailing_make_every_delivery_once(
    connection: RawConnection, database: Database
) -> None:
    mailing_id = await stored.new_mailing(connection, 100, expand=False)
    expand = new_task(database, page_size=7)
    while (await counted(connection, mailing_id))[0] == "expanding":
        await asyncio.gather(*(expand(ExpandMailing(mailing_id)) for _ in range(4)))
    assert len(await recipients(connection, mailing_id)) == 100
    assert await counted(connection, mailing_id) == ("running", 100, 0)


async def test_a_page_waits_for_the_one_before_it(connection: RawConnection, database_url: str) -> None:
    mailing_id = await stored.new_mailing(connection, 6, expand=False)
    async with stored.connected(database_url) as other:
        async with other.transaction():
            assert await expand_page(other, mailing_id, 3) is not None
            next_page = asyncio.create_task(expand_page(connection, mailing_id, 3))
        assert await next_page is not None
    assert len(await recipients(connection, mailing_id)) == 6


async def test_only_who_is_subscribed_and_wants_mail_gets_a_delivery(connection: RawConnection) -> None:
    """Who wants digests gets as a mail what is in none."""
    mailing_id = await stored.new_mailing(connection, 0, expand=False)
    list_id = await connection.fetchval("SELECT list_id FROM mailings")
    await member_imports.import_rows(
        connection,
        list_id,
        [
            stored.new_member(1),
            stored.new_member(2, status=MemberStatus.UNSUBSCRIBED),
            stored.new_member(3, status=MemberStatus.HELD),
            stored.new_member(4, delivery_mode=DeliveryMode.DIGEST),
            stored.new_member(5, delivery_mode=DeliveryMode.NOMAIL),
            stored.new_member(6),
        ],
    )
    await stored.expand_all(connection, mailing_id, 2)
    assert await recipients(connection, mailing_id) == [f"member-{number}@example.com" for number in (1, 4, 6)]


async def test_a_suppressed_address_gets_a_delivery_that_has_ended(
    connection: RawConnection, database: Database
) -> None:
    mailing_id = await stored.new_mailing(connection, 4, expand=False)
    tomorrow, yesterday = (datetime.now(UTC) + timedelta(days=days) for days in (1, -1))
    async with database.transaction() as session:
        for number, ends_at in ((1, None), (2, tomorrow), (3, yesterday)):
            await suppressions.put(
                session,
                email=f"member-{number}@example.com",
                email_key=f"member-{number}@example.com",
                reason=SuppressionReason.COMPLAINT,
                ends_at=ends_at,
            )
    await stored.expand_all(connection, mailing_id)
    assert await stored.states(connection, mailing_id) == {"suppressed": 2, "open": 2}
    assert await connection.fetchval("SELECT count(*) FROM outstanding") == 2
    assert await counted(connection, mailing_id) == ("running", 4, 2)


async def test_an_address_that_left_and_came_back_meanwhile_gets_one_delivery(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 6, expand=False)
    list_id = await connection.fetchval("SELECT list_id FROM mailings")
    await expand_page(connection, mailing_id, 3)
    await connection.execute("DELETE FROM members WHERE email_key = 'member-1@example.com'")
    await member_imports.import_rows(connection, list_id, [stored.new_member(1)])
    await stored.expand_all(connection, mailing_id, 3)
    assert sorted(await recipients(connection, mailing_id)) == [f"member-{n}@example.com" for n in range(1, 7)]
    assert await counted(connection, mailing_id) == ("running", 6, 0)


async def test_a_mailing_made_twice_is_made_once(connection: RawConnection) -> None:
    list_id, other_list_id = await stored.new_list(connection, 0), await stored.new_list(connection, 0)
    message = stored.new_message(NewTarget("list@lists.example.org", TargetKind.LIST, list_id))
    await messages.store(connection, message)

    async def create(to_list_id: int | None) -> int:
        async with connection.transaction():
            return await mailings.create(
                connection,
                kind=MailingKind.POST,
                lane=Lane.POSTS,
                message_id=message.id,
                list_id=to_list_id,
                return_domain="lists.example.org",
                subject="Hello",
                expand_again_after_seconds=5,
            )

    assert await create(list_id) == await create(list_id)
    assert await create(None) == await create(None)
    assert len({await create(list_id), await create(other_list_id), await create(None)}) == 3


async def test_a_mailing_made_again_while_it_runs_is_not_started_anew(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 3)
    row = await connection.fetchrow("SELECT message_id, list_id FROM mailings")
    assert row is not None
    async with connection.transaction():
        again = await mailings.create(
            connection,
            kind=MailingKind.POST,
            lane=Lane.POSTS,
            message_id=row["message_id"],
            list_id=row["list_id"],
            return_domain="lists.example.org",
            subject="Hello",
            expand_again_after_seconds=5,
        )
    assert again == mailing_id
    assert await counted(connection, mailing_id) == ("running", 3, 0)


async def test_mail_to_the_operator_has_one_recipient_however_often_it_is_handled(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 0, expand=False, lane=Lane.EXPRESS)
    for _ in range(2):
        async with connection.transaction():
            await expansion.add_recipients(connection, mailing_id, [Address.parse("Op@example.com")])
    assert await recipients(connection, mailing_id) == ["op@example.com"]
    assert await counted(connection, mailing_id) == ("running", 1, 0)


async def test_mail_to_an_operator_whom_nobody_may_mail_is_not_sent(connection: RawConnection) -> None:
    await connection.execute(
        "INSERT INTO suppressions (email_key, email, reason) VALUES ('op@example.com', 'op@example.com', 'manual')"
    )
    mailing_id = await stored.new_mailing(connection, 0, expand=False, lane=Lane.EXPRESS)
    async with connection.transaction():
        await expansion.add_recipients(connection, mailing_id, [Address.parse("Op@example.com")])
    assert await stored.states(connection, mailing_id) == {"suppressed": 1}
    assert await counted(connection, mailing_id) == ("running", 1, 1)
    assert await stored.release_all(connection, mailing_id) == []
    assert await mailings.finish(connection) == [mailing_id]


async def test_the_months_partitions_are_made_by_whoever_comes_first(
    connection: RawConnection, database: Database
) -> None:
    for table in ("deliveries", "attempts"):
        month = await connection.fetchval("SELECT to_char(now(), 'YYYY_MM')")
        await connection.execute(f"DROP TABLE IF EXISTS {table}_{month}")
    list_id = await stored.new_list(connection, 1)
    made = [stored.new_message(NewTarget("list@lists.example.org", TargetKind.LIST, list_id)) for _ in range(4)]
    for message in made:
        await messages.store(connection, message)

    async def create(number: int) -> int:
        async with database.raw_transaction() as own:
            return await mailings.create(
                own,
                kind=MailingKind.POST,
                lane=Lane.POSTS,
                message_id=made[number].id,
                list_id=list_id,
                return_domain="lists.example.org",
                subject="Hello",
                expand_again_after_seconds=5,
            )

    for mailing_id in await asyncio.gather(*(create(number) for number in range(4))):
        await stored.expand_all(connection, mailing_id)
        assert len(await recipients(connection, mailing_id)) == 1


async def test_an_expansion_that_stands_still_is_due_again(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 5, expand=False)
    assert await expansion.expand_due(connection) == []
    await connection.execute("UPDATE mailings SET expand_due_at = now() - interval '1 s'")
    assert await expansion.expand_due(connection) == [mailing_id]
    await expansion.mark_expansion_published(connection, [mailing_id], again_after_seconds=30)
    assert await expansion.expand_due(connection) == []
    await stored.expand_all(connection, mailing_id)
    await connection.execute("UPDATE mailings SET expand_due_at = now() - interval '1 s'")
    assert await expansion.expand_due(connection) == [], "it is expanded"
