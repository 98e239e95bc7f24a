"""Whom a newsletter's mailing goes to: members of several lists, in a segment, within limits, once each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.scheduler.tasks.destinations import Destinations
from services.scheduler.tasks.expansion import Expand
from shared.contracts.commands import ExpandMailing
from shared.core.membership import DeliveryMode, MemberStatus
from shared.dns.resolver import MxRecord
from shared.store import domain_limits, expansion, member_imports, recency
from shared.store.engine import Database, RawConnection
from shared.store.recency import Limits
from tests.fakes.admin_client import AdminClient, admin_client, let_in
from tests.integration import stored

BERLIN = {"field": "city", "equals": "Berlin"}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


@pytest.fixture
async def client(connection: RawConnection, database_url: str) -> AsyncIterator[AdminClient]:
    del connection  # its tables are empty
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


class _NoHosts:
    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        raise AssertionError(domain)


def new_task(database: Database, *, page_size: int) -> Expand:
    return Expand(
        database,
        page_size=page_size,
        stalled_after_seconds=30,
        on_page=lambda: None,
        destinations=Destinations(database, _NoHosts()),
    )


async def new_list(connection: RawConnection, *numbers: int, **changes: Any) -> int:
    """A list with the members `member-N` for these numbers."""
    list_id = await stored.new_list(connection, 0)
    await member_imports.import_rows(connection, list_id, [stored.new_member(number, **changes) for number in numbers])
    return list_id


async def newsletter_to(
    connection: RawConnection, *list_ids: int, segment: object = None, unopened_of: int | None = None
) -> int:
    """A mailing of a newsletter that is not expanded."""
    mailing_id = await stored.mailing_to(connection, list_ids[0], expand=False)
    await connection.execute(
        """
        UPDATE mailings SET kind = 'newsletter', list_ids = $2, segment = $3, unopened_of_mailing_id = $4 WHERE id = $1
        """,
        mailing_id,
        list_ids,
        None if segment is None else json.dumps(segment),
        unopened_of,
    )
    return mailing_id


async def reached(connection: RawConnection, mailing_id: int, state: str = "open") -> list[int]:
    """The numbers of the members that have a delivery in this state."""
    rows = await connection.fetch(
        "SELECT recipient_key FROM deliveries WHERE mailing_id = $1 AND state = $2::delivery_state", mailing_id, state
    )
    return sorted(int(row["recipient_key"].removeprefix("member-").partition("@")[0]) for row in rows)


async def limit(connection: RawConnection, list_id: int, newsletters: int, days: int = 7) -> None:
    await connection.execute(
        "UPDATE mailing_lists SET recency_newsletters = $2, recency_days = $3 WHERE id = $1", list_id, newsletters, days
    )


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
async def test_who_is_on_several_lists_gets_one_copy(connection: RawConnection, page_size: int) -> None:
    lists = [await new_list(connection, *numbers) for numbers in ((1, 2, 3), (), (3, 4), (1, 5, 6, 2))]
    mailing_id = await newsletter_to(connection, *lists)
    await stored.expand_all(connection, mailing_id, page_size)
    assert await reached(connection, mailing_id) == [1, 2, 3, 4, 5, 6]
    row = await connection.fetchrow("SELECT state, recipients FROM mailings WHERE id = $1", mailing_id)
    assert row is not None
    assert (row["state"], row["recipients"]) == ("running", 6)
    assert await connection.fetchval("SELECT count(*) FROM outstanding") == 6


@pytest.mark.parametrize("pages_before", range(6))
async def test_an_expansion_over_lists_goes_on_from_its_row(
    connection: RawConnection, database_url: str, pages_before: int
) -> None:
    lists = [await new_list(connection, *numbers) for numbers in ((1, 2, 3), (3, 4), (1, 5, 6))]
    mailing_id = await newsletter_to(connection, *lists)
    async with stored.connected(database_url) as dying:
        for _ in range(pages_before):
            async with dying.transaction():
                await expansion.expand_page(dying, mailing_id, page_size=2, expand_again_after_seconds=30)
        await dying.transaction().start()
        await expansion.expand_page(dying, mailing_id, page_size=2, expand_again_after_seconds=30)
    await stored.expand_all(connection, mailing_id, 2)
    assert await reached(connection, mailing_id) == [1, 2, 3, 4, 5, 6]


async def test_two_schedulers_at_one_newsletter_make_every_delivery_once(
    connection: RawConnection, database: Database
) -> None:
    lists = [await new_list(connection, *range(1, 60)), await new_list(connection, *range(30, 100))]
    mailing_id = await newsletter_to(connection, *lists, segment={"not": {"property": "email", "contains": "-50@"}})
    expand = new_task(database, page_size=7)
    await asyncio.gather(*(expand(ExpandMailing(mailing_id)) for _ in range(4)))
    assert await reached(connection, mailing_id) == [number for number in range(1, 100) if number != 50]


async def test_the_segment_is_looked_at_when_a_page_is_made(connection: RawConnection) -> None:
    list_id = await new_list(connection, *range(1, 7))
    other_id = await new_list(connection, 1, 9, fields_json=json.dumps({"city": "Berlin"}))
    await connection.execute("""UPDATE members SET fields = '{"city": "Berlin"}' WHERE id % 2 = 0""")
    mailing_id = await newsletter_to(connection, list_id, other_id, segment=BERLIN)
    async with connection.transaction():
        await expansion.expand_page(connection, mailing_id, page_size=3, expand_again_after_seconds=30)
    early = await reached(connection, mailing_id)
    await connection.execute("""UPDATE members SET fields = '{"city": "Rome"}' WHERE email_key LIKE 'member-4@%'""")
    await connection.execute("""UPDATE members SET fields = '{"city": "Berlin"}' WHERE email_key LIKE 'member-5@%'""")
    await stored.expand_all(connection, mailing_id, 3)
    found = await reached(connection, mailing_id)
    assert set(early) < set(found)
    assert {1, 5, 9} <= set(found), "by the other list, since just now, and by the other list alone"
    assert 4 not in found


async def test_newsletters_go_to_who_wants_any_mail(connection: RawConnection) -> None:
    list_id = await new_list(connection)
    rows = [
        stored.new_member(1),
        stored.new_member(2, delivery_mode=DeliveryMode.DIGEST),
        stored.new_member(3, delivery_mode=DeliveryMode.NOMAIL),
        stored.new_member(4, status=MemberStatus.UNSUBSCRIBED),
        stored.new_member(5, status=MemberStatus.HELD),
        stored.new_member(6),
    ]
    await member_imports.import_rows(connection, list_id, rows)
    await connection.execute(
        "INSERT INTO suppressions (email_key, email, reason) VALUES ('member-6@example.com', '', 'manual')"
    )
    segment = {"not": {"field": "nobody's", "is_set": True}}
    mailing_id = await newsletter_to(connection, list_id, segment=segment)
    await stored.expand_all(connection, mailing_id)
    assert await reached(connection, mailing_id) == [1, 2]
    assert await reached(connection, mailing_id, "suppressed") == [6]


async def test_domains_of_every_list_are_looked_up(connection: RawConnection) -> None:
    lists = [await new_list(connection, 1), await new_list(connection, 2, email_key="member-2@other.example")]
    mailing_id = await newsletter_to(connection, *lists)
    assert await domain_limits.unresolved(connection, mailing_id, page_size=5) == ["example.com"]
    async with connection.transaction():
        await expansion.expand_page(connection, mailing_id, page_size=5, expand_again_after_seconds=30)
    assert await domain_limits.unresolved(connection, mailing_id, page_size=5) == ["other.example"]
    await stored.expand_all(connection, mailing_id)


async def sent_mailing(connection: RawConnection, list_id: int, *refused: int) -> int:
    """A newsletter to the list that is delivered to all but these."""
    mailing_id = await newsletter_to(connection, list_id)
    await stored.expand_all(connection, mailing_id)
    lease = await stored.new_lease(connection)
    for batch_id in await stored.release_all(connection, mailing_id):
        batch = await stored.claim(connection, batch_id, lease)
        assert batch is not None
        reports = [
            stored.report(batch, each, stored.REFUSED if _number(each.address) in refused else stored.DELIVERED)
            for each in batch.recipients
        ]
        await stored.record(connection, reports, {batch.id: 0})
    return mailing_id


def _number(address: str) -> int:
    return int(address.lower().removeprefix("member-").partition("@")[0])


async def read(
    connection: RawConnection, mailing_id: int, number: int, *, link: int = 0, judged: str | None = None
) -> None:
    await connection.execute(
        """
        INSERT INTO tracking_events (id, mailing_id, delivery_id, member_id, link_id, at, judged)
        SELECT $1, mailing_id, id, member_id, $4, now(), $5::machine_sign FROM deliveries
        WHERE mailing_id = $2 AND recipient_key = $3
        """,
        uuid4(),
        mailing_id,
        f"member-{number}@example.com",
        link,
        judged,
    )


async def test_a_resend_goes_to_who_got_it_and_did_not_open_it(connection: RawConnection) -> None:
    list_id = await new_list(connection, *range(1, 7))
    first_id, other_id = await sent_mailing(connection, list_id, 6), await sent_mailing(connection, list_id)
    await read(connection, first_id, 1)
    await read(connection, first_id, 2, link=5)
    await read(connection, first_id, 3, judged="scanner")
    await read(connection, other_id, 4)
    await connection.execute("UPDATE members SET status = 'unsubscribed' WHERE email_key LIKE 'member-5@%'")
    await member_imports.import_rows(connection, list_id, [stored.new_member(7)])
    mailing_id = await newsletter_to(connection, list_id, unopened_of=first_id)
    await stored.expand_all(connection, mailing_id)
    assert await reached(connection, mailing_id) == [3, 4]


async def test_an_address_gets_so_many_newsletters_as_the_limit_says(
    connection: RawConnection, client: AdminClient
) -> None:
    limited, free = await new_list(connection, 1, 2), await new_list(connection, 2, 3)
    await limit(connection, limited, 2)
    for _ in range(2):
        await stored.expand_all(connection, await newsletter_to(connection, free))
    mailings = [await newsletter_to(connection, limited, free) for _ in range(3)]
    for mailing_id in mailings:
        await stored.expand_all(connection, mailing_id)
    assert [await reached(connection, each) for each in mailings] == [[1, 2, 3], [1, 2, 3], []]
    assert await reached(connection, mailings[2], "recently_mailed") == [1, 2, 3]
    told = (await client.get(f"/mailings/{mailings[2]}")).json()
    assert (told["recipients"], told["open"], told["recently_mailed"]) == (3, 0, 3)
    unlimited = await newsletter_to(connection, free)
    await stored.expand_all(connection, unlimited)
    assert await reached(connection, unlimited) == [2, 3]


async def test_what_was_not_sent_and_what_is_old_does_not_count(connection: RawConnection) -> None:
    list_id = await new_list(connection, 1, 2, 3)
    await limit(connection, list_id, 1, days=3)
    await sent_mailing(connection, list_id, 2)
    second_id = await newsletter_to(connection, list_id)
    await stored.expand_all(connection, second_id)
    assert await reached(connection, second_id) == [2], "the first was refused"
    # As if the limit's days were over.
    await limit(connection, list_id, 1, days=0)
    third_id = await newsletter_to(connection, list_id)
    await stored.expand_all(connection, third_id)
    assert await reached(connection, third_id) == [1, 2, 3]


@pytest.mark.parametrize("turn", range(3))
async def test_a_limit_holds_when_mailings_start_at_the_same_moment(
    connection: RawConnection, database: Database, turn: int
) -> None:
    lists = [await new_list(connection, *range(1 + turn, 41)) for _ in range(4)]
    for list_id in lists:
        await limit(connection, list_id, 2)
    mailings = [await newsletter_to(connection, *lists[place:], *lists[:place]) for place in range(4)]
    expand = new_task(database, page_size=3 + turn)
    await asyncio.gather(*(expand(ExpandMailing(mailing_id)) for mailing_id in (*mailings, *mailings)))
    rows = await connection.fetch(
        "SELECT recipient_key, count(*) FILTER (WHERE state = 'open') AS open, count(*) AS n FROM deliveries GROUP BY 1"
    )
    assert len(rows) == 40 - turn
    assert {(row["open"], row["n"]) for row in rows} == {(2, 4)}


async def test_pages_under_limits_wait_for_one_another(connection: RawConnection, database_url: str) -> None:
    list_id = await new_list(connection, 1)
    assert await recency.limits_of(connection, [list_id]) is None
    await limit(connection, list_id, 2, days=9)
    async with stored.connected(database_url) as other:
        async with other.transaction():
            assert await recency.limits_of(other, [list_id]) == Limits([2], [9], [])
            waiting = asyncio.create_task(_limits(connection, list_id))
            while not await other.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                assert not waiting.done()
        assert await waiting == Limits([2], [9], [])


async def _limits(connection: RawConnection, list_id: int) -> Limits | None:
    async with connection.transaction():
        return await recency.limits_of(connection, [list_id])


async def test_who_had_enough_is_sent_to_only_by_name(connection: RawConnection, client: AdminClient) -> None:
    list_id = await new_list(connection, 1)
    await limit(connection, list_id, 1)
    await sent_mailing(connection, list_id)
    mailing_id = await newsletter_to(connection, list_id)
    await stored.expand_all(connection, mailing_id)
    again = await client.post(f"/mailings/{mailing_id}/deliveries/retry", json={})
    assert again.status_code == 200, again.text
    assert await reached(connection, mailing_id, "recently_mailed") == [1]
    again = await client.post(f"/mailings/{mailing_id}/deliveries/retry", json={"state": ["recently_mailed"]})
    assert again.status_code == 200, again.text
    assert await reached(connection, mailing_id) == [1]


async def test_the_api_counts_whom_a_newsletter_would_go_to(connection: RawConnection, client: AdminClient) -> None:
    first, second = await client.new_list(), await client.new_list()
    rows = "".join(f"member-{number}@example.com,{'Berlin' if number % 2 else 'Rome'}\n" for number in range(1, 51))
    assert (await client.import_csv(first, f"email,city\n{rows}")).status_code == 200
    more = (
        "Member-1@example.com,Berlin,mail\nmember-51@example.com,Berlin,digest\nmember-53@example.com,Berlin,nomail\n"
    )
    assert (await client.import_csv(second, f"email,city,delivery_mode\n{more}")).status_code == 200
    assert (await client.post("/suppressions", json={"email": "member-3@example.com"})).status_code == 201

    async def counted(**body: object) -> dict[str, Any]:
        answer = await client.post("/segments/count", json={"lists": [first, second], **body})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    assert (await counted())["members"] == 50
    assert (await counted(segment=None))["members"] == 50
    in_berlin = await counted(segment=BERLIN)
    assert in_berlin["members"] == 25
    assert len(in_berlin["sample"]) == 20
    assert in_berlin["sample"][0] == "member-1@example.com"
    assert (await counted(segment={"and": [BERLIN, {"not": BERLIN}]})) == {"members": 0, "sample": []}
    assert (await counted(segment={"opened": {"in_last_days": 3}}))["members"] == 0
    assert (await counted(unopened_of_mailing=4711))["members"] == 0
    assert await connection.fetchval("SELECT count(*) FROM mailings") == 0


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"lists": ["nobody@example.org"]}, "#/lists/0", "There is no list"),
        ({"lists": []}, "#/lists", "at least 1"),
        ({"segment": {"and": [{"field": "a~/b", "like": "x"}]}}, "#/segment/and/0/like", "no such key"),
        ({"segment": {"field": "a", "equals": "'; DROP TABLE members; --\x00"}}, "#/segment/equals", "U+0000"),
        ({"segment": "1=1"}, "#/segment", "A condition is an object."),
        ({"segment": {"opened": {"of_mailing": "1) OR (1=1"}}}, "#/segment/opened/of_mailing", "whole number"),
        ({"node": "outbound-1"}, "#/node", "no such field"),
    ],
)
async def test_hostile_segments_are_answered_with_what_is_wrong(
    client: AdminClient, change: dict[str, object], pointer: str, words: str
) -> None:
    answer = await client.post("/segments/count", json={"lists": [await client.new_list()], **change})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert words in error["detail"]


@pytest.mark.parametrize(
    "segment",
    [
        '{"not":' * 50_000 + "{}" + "}" * 50_000,
        '{"and":[' * 400 + "]}" * 400,
        '{"field":"a","less":1e999}',
        '{"field":"a","less":NaN}',
        '{"field":"a","less":' + "9" * 5000 + "}",
        '{"field":"\\ud800","equals":"x"}',
        '{"\\ud800":1}',
        '{"field":"a","equals":"x","\\u0000":1}',
    ],
)
async def test_segments_that_break_programs_are_refused(client: AdminClient, segment: str) -> None:
    body = f'{{"lists": ["{await client.new_list()}"], "segment": {segment}}}'
    answer = await client.post("/segments/count", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


async def test_a_segment_of_texts_that_look_like_sql_finds_those_texts(client: AdminClient) -> None:
    hostile = "' OR true; DROP TABLE members; -- %s $1 \\"
    address = await client.new_list()
    row = json.dumps({"email": "ann@example.com", "fields": {hostile: hostile}})
    assert (await client.import_ndjson(address, row)).status_code == 200
    for operator in ("equals", "contains", "starts_with", "ends_with"):
        body = {"lists": [address], "segment": {"field": hostile, operator: hostile}}
        assert (await client.post("/segments/count", json=body)).json()["members"] == 1
        body = {"lists": [address], "segment": {"field": "city", operator: hostile}}
        assert (await client.post("/segments/count", json=body)).json()["members"] == 0


async def test_the_segments_schema_refers_to_itself(client: AdminClient) -> None:
    schemas = (await client.get("http://api/openapi.json")).json()["components"]["schemas"]
    kinds = [next(iter(each["properties"])) for each in schemas["Segment"]["oneOf"]]
    assert kinds == ["and", "or", "not", "field", "property", "opened", "clicked", "received", "bounced"]
    (conjunction, *_) = schemas["Segment"]["oneOf"]
    assert conjunction["properties"]["and"]["items"] == {"$ref": "#/components/schemas/Segment"}


async def test_a_lists_limit_on_newsletters_is_set_by_the_api(client: AdminClient) -> None:
    address = await client.new_list()
    assert (await client.get(f"/lists/{address}")).json()["recency_newsletters"] is None
    changed = await client.patch(f"/lists/{address}", json={"recency_newsletters": 3, "recency_days": 30})
    assert (changed.json()["recency_newsletters"], changed.json()["recency_days"]) == (3, 30)
    new = {"name": "seldom", "domain": "example.org", "recency_newsletters": 1}
    made = (await client.post("/lists", json=new)).json()
    assert (made["recency_newsletters"], made["recency_days"]) == (1, 7)
    for wrong in ({"recency_newsletters": 0}, {"recency_days": 366}, {"recency_days": None}):
        assert (await client.patch(f"/lists/{address}", json=wrong)).status_code == 422
