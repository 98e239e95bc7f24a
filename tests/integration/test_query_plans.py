"""The hot statements touch the rows they are about, however many others there are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast
from uuid import uuid4

import pytest

from shared.contracts.topology import Lane
from shared.core.bounce import BounceClass
from shared.core.delivery import DeliveryState, OutcomeKind
from shared.core.segment.parsing import parse
from shared.store import (
    arrivals,
    audiences,
    batches,
    choosing,
    digest_mailings,
    digests,
    domain_limits,
    endings,
    expansion,
    fates,
    limited_release,
    mailings,
    nodes,
    release,
    rounds,
    tracking,
)
from shared.store.audiences import Audience
from shared.store.choosing import Choice
from shared.store.engine import RawConnection
from shared.store.expansion import ExpandedPage
from shared.store.tracking import NewEvent
from tests.integration import many_rows, stored
from tests.integration.many_rows import ExplainingConnection
from tests.integration.stored import DEFERRED, DELIVERED, REFUSED, report

DELIVERIES = 100_000


@pytest.fixture(scope="module")
async def mailing_id(database_url: str) -> int:
    async with stored.connected(database_url) as connection:
        return await many_rows.fill(connection, DELIVERIES)


@pytest.fixture
async def connection(database_url: str, mailing_id: int) -> AsyncIterator[RawConnection]:
    """What a test changes is rolled back."""
    async with stored.connected(database_url) as connection:
        await stored.record(connection, [])  # makes the session's function, which an aborted transaction could not
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await transaction.rollback()


async def assert_narrow(
    connection: RawConnection, call: Callable[[RawConnection], Awaitable[Any]], *, at_most: int
) -> None:
    """No statement of the call reads a large table through, touches more than `at_most` rows of one, or joins more than
    so many pairs in vain."""
    explaining = ExplainingConnection(connection)
    await call(cast("RawConnection", explaining))
    assert explaining.looks
    for look in explaining.looks:
        assert not look.has_seq_scan, look.statement
        assert max(look.touched.values(), default=0) <= at_most, f"{look.touched} {look.statement}"
        assert look.compared <= at_most, f"{look.compared} {look.statement}"


async def test_a_claim_touches_its_batch(connection: RawConnection) -> None:
    batch_id, lease = await many_rows.released(connection), await stored.new_lease(connection)
    await assert_narrow(connection, lambda c: stored.claim(c, batch_id, lease, at_most=60), at_most=300)


async def assert_narrow_by_counters(
    connection: RawConnection, call: Callable[[RawConnection], Awaitable[Any]], *, at_most: int
) -> None:
    """The same for what happens within a function, where EXPLAIN does not look."""
    before = await many_rows.rows_fetched(connection)
    await call(connection)
    after = await many_rows.rows_fetched(connection)
    for table, (fetched, scans) in after.items():
        assert scans == before[table][1], table
        assert fetched - before[table][0] <= at_most, table
    assert after["outstanding"][0] > before["outstanding"][0]


async def test_recording_touches_what_is_recorded(connection: RawConnection) -> None:
    claimed = await many_rows.claimed(connection)
    reports = [report(claimed, recipient, DELIVERED) for recipient in claimed.recipients[:50]]
    reports += [report(claimed, recipient, DEFERRED) for recipient in claimed.recipients[50:]]
    await assert_narrow_by_counters(connection, lambda c: stored.record(c, reports, {claimed.id: 0}), at_most=500)


async def test_recording_a_large_group_touches_what_is_recorded(connection: RawConnection) -> None:
    lease, ids = await stored.new_lease(connection), await connection.fetch("SELECT id FROM batches WHERE open = 100")
    claimed = [await stored.claim(connection, row["id"], lease) for row in ids]
    reports = [report(batch, recipient, DELIVERED) for batch in claimed if batch for recipient in batch.recipients]
    assert len(reports) == 1000
    await assert_narrow_by_counters(connection, lambda c: stored.record(c, reports), at_most=5000)


async def test_late_outcomes_touch_what_is_recorded(connection: RawConnection) -> None:
    claimed = await many_rows.claimed(connection)
    await connection.execute("UPDATE nodes SET state = 'left'")
    await batches.take_over_orphans(connection)
    reports = [report(claimed, recipient, DELIVERED) for recipient in claimed.recipients]
    await assert_narrow_by_counters(connection, lambda c: stored.record(c, reports), at_most=1000)


async def test_a_hand_back_touches_what_goes_back(connection: RawConnection) -> None:
    claimed = await many_rows.claimed(connection)
    ids = [recipient.delivery_id for recipient in claimed.recipients[50:]]
    await assert_narrow(
        connection, lambda c: batches.hand_back(c, claimed.id, claimed.claim, ids, unstarted=50), at_most=300
    )


async def test_looking_for_authors_touches_those_asked_for(connection: RawConnection) -> None:
    list_id = await connection.fetchval("SELECT min(list_id) FROM members")
    asked = [(list_id, [f"member-{number}@example.com", "stranger@example.com"]) for number in range(1, 51)]
    await assert_narrow(connection, lambda c: arrivals.known_authors(c, asked), at_most=100)
    assert [len(known) for known in await arrivals.known_authors(connection, asked)] == [1] * 50


async def test_a_takeover_touches_what_is_taken_over(connection: RawConnection) -> None:
    await many_rows.claimed(connection)
    await connection.execute("UPDATE nodes SET state = 'left'")
    await assert_narrow(connection, batches.take_over_orphans, at_most=600)


async def test_a_look_for_orphans_touches_what_is_out(connection: RawConnection) -> None:
    await assert_narrow(connection, batches.take_over_orphans, at_most=20)


async def test_what_is_posted_to_a_list_that_nobody_reads_as_digest_costs_nothing_much(
    connection: RawConnection, mailing_id: int
) -> None:
    list_id = await connection.fetchval("UPDATE mailing_lists SET digests_enabled = true RETURNING id")
    await assert_narrow(connection, lambda c: digests.collect(c, list_id, mailing_id), at_most=1)
    assert await connection.fetchval("SELECT count(*) FROM digests") == 0


async def test_a_digests_steps_touch_its_readers(connection: RawConnection, mailing_id: int) -> None:
    list_id = await connection.fetchval("UPDATE mailing_lists SET digests_enabled = true RETURNING id")
    await connection.execute("UPDATE members SET delivery_mode = 'digest' WHERE id % 1000 = 0")
    await assert_narrow(connection, lambda c: digests.collect(c, list_id, mailing_id), at_most=10)
    closed = await digests.close(connection, list_id)
    assert closed is not None
    await assert_narrow(connection, lambda c: digest_mailings.next_step(c, closed.id), at_most=300)


async def test_windows_are_counted_from_batches_and_waiting_ones_up_to_the_limit(connection: RawConnection) -> None:
    await assert_narrow(connection, lambda c: release.nodes_capacity(c, Lane.POSTS), at_most=0)
    await assert_narrow(connection, lambda c: release.waiting(c, Lane.POSTS, count_to=1600), at_most=1600)


async def test_making_batches_touches_what_is_released(connection: RawConnection, mailing_id: int) -> None:
    await assert_narrow(
        connection,
        lambda c: release.make_batches(
            c, Lane.POSTS, mailing_id, recipients=500, batch_size=100, publish_after_seconds=5
        ),
        at_most=1500,
    )


async def test_making_a_batch_for_each_touches_each_once(connection: RawConnection, mailing_id: int) -> None:
    await connection.execute("UPDATE outstanding SET deaths = 2 WHERE batch_id IS NULL")
    await assert_narrow(
        connection,
        lambda c: release.make_batches(
            c, Lane.POSTS, mailing_id, recipients=500, batch_size=100, publish_after_seconds=5
        ),
        at_most=1500,
    )


async def test_release_under_limits_touches_what_is_released(connection: RawConnection, mailing_id: int) -> None:
    await connection.execute("INSERT INTO domain_limits (pattern, connections) VALUES ('example.com', 5)")
    await stored.new_lease(connection)
    await connection.execute("UPDATE nodes SET capacity_per_second = 50")
    await connection.execute(
        "UPDATE outstanding SET domain_limit = 'example.com' WHERE delivery_id IN"
        " (SELECT delivery_id FROM outstanding WHERE batch_id IS NULL ORDER BY delivery_id LIMIT 5000)"
    )
    await assert_narrow(connection, limited_release.demands, at_most=2 * limited_release.COUNT_TO)
    await assert_narrow(connection, lambda c: limited_release.of_domains(c, ["example.com"]), at_most=20)
    (demand,) = await limited_release.demands(connection)
    await assert_narrow(
        connection,
        lambda c: limited_release.make_batch(
            c, demand, recipients=100, starts_at=None, interval_seconds=None, publish_after_seconds=5
        ),
        at_most=500,
    )
    await assert_narrow(connection, lambda c: limited_release.lift(c, demand, at_most=1000), at_most=3000)


async def test_without_limits_a_look_for_limited_ones_touches_nothing(connection: RawConnection) -> None:
    await assert_narrow(connection, limited_release.demands, at_most=0)


async def test_a_page_of_an_expansion_touches_its_members(connection: RawConnection, mailing_id: int) -> None:
    await connection.execute(
        "UPDATE mailings SET state = 'expanding', expanded_to_member_id = $1 WHERE id = $2", DELIVERIES // 2, mailing_id
    )
    await connection.execute("DELETE FROM deliveries WHERE mailing_id = $1 AND member_id > $2", mailing_id, 50_000)
    await assert_narrow(
        connection,
        lambda c: expansion.expand_page(c, mailing_id, page_size=1000, expand_again_after_seconds=30),
        at_most=2000,
    )


#: Met by everybody, so that each part is asked of each member.
SEGMENT = {
    "and": [
        {"field": "city", "is_set": False},
        {"not": {"opened": {"in_last_days": 30}}},
        {"not": {"received": {"in_last_days": 30}}},
        {"not": {"bounced": {"in_last_days": 30}}},
        {"not": {"clicked": {"of_mailing": 1}}},
    ]
}


async def read_by_the_last(connection: RawConnection, mailing_id: int, readers: int) -> None:
    """The newest members opened the mailing a long time ago."""
    await connection.execute(
        "INSERT INTO tracking_events (id, mailing_id, delivery_id, member_id, link_id, at)"
        " SELECT gen_random_uuid(), mailing_id, id, member_id, 0, now() - interval '31 days'"
        " FROM deliveries WHERE mailing_id = $1 ORDER BY id DESC LIMIT $2",
        mailing_id,
        readers,
    )
    await connection.execute("ANALYZE tracking_events")


async def test_a_page_of_a_newsletters_expansion_touches_its_members(
    connection: RawConnection, mailing_id: int
) -> None:
    await read_by_the_last(connection, mailing_id, 20_000)
    await connection.execute("UPDATE mailing_lists SET recency_newsletters = 3")
    await connection.execute(
        "UPDATE mailings SET state = 'expanding', list_ids = ARRAY[list_id], segment = $2, expanded_to_member_id = $3"
        " WHERE id = $1",
        mailing_id,
        json.dumps(SEGMENT),
        DELIVERIES - 1000,
    )
    await connection.execute("DELETE FROM deliveries WHERE mailing_id = $1 AND member_id > $2", mailing_id, 99_000)
    made: list[ExpandedPage | None] = []

    async def expand(on: RawConnection) -> None:
        made.append(await expansion.expand_page(on, mailing_id, page_size=1000, expand_again_after_seconds=30))

    await assert_narrow(connection, lambda c: domain_limits.unresolved(c, mailing_id, page_size=1000), at_most=1000)
    await assert_narrow(connection, expand, at_most=6000)
    (page,) = made
    assert page is not None
    assert page.recipients == 1000


async def test_counting_an_audience_touches_each_member_once_for_each_look(
    connection: RawConnection, mailing_id: int
) -> None:
    await read_by_the_last(connection, mailing_id, 5_000)
    list_id = await connection.fetchval("SELECT list_id FROM mailings WHERE id = $1", mailing_id)
    audience = Audience([list_id], parse({"not": {"opened": {"in_last_days": 30}}}))
    counted: list[audiences.Counted | None] = []

    async def count(on: RawConnection) -> None:
        counted.append(await audiences.count(on, audience))

    await assert_narrow(connection, count, at_most=2 * DELIVERIES + audiences.SAMPLE)
    (found,) = counted
    assert found is not None
    assert found.addresses == DELIVERIES


async def test_the_sweep_touches_what_is_out(connection: RawConnection) -> None:
    await connection.execute("UPDATE batches SET publish_due_at = now() - interval '1 s' WHERE state = 'released'")
    await assert_narrow(connection, lambda c: release.publish_due(c, Lane.POSTS), at_most=20)
    await assert_narrow(connection, lambda c: release.count_released(c, Lane.POSTS), at_most=20)
    ids = await release.publish_due(connection, Lane.POSTS)
    await assert_narrow(connection, lambda c: release.mark_published(c, ids, again_after_seconds=30), at_most=60)


async def test_looking_for_finished_mailings_touches_a_row_or_two_of_each(connection: RawConnection) -> None:
    # At most the batches of running mailings, never their deliveries.
    await assert_narrow(connection, mailings.finish, at_most=DELIVERIES // 100)


async def test_reconciling_touches_what_is_out(connection: RawConnection) -> None:
    claimed = await many_rows.claimed(connection)
    lease = await connection.fetchval("SELECT holder FROM batches WHERE id = $1", claimed.id)
    await assert_narrow(connection, lambda c: batches.claimed_by(c, lease), at_most=20)
    await assert_narrow(connection, lambda c: batches.report_unstarted(c, {claimed.id: (claimed.claim, 5)}), at_most=5)


async def test_ending_what_waits_touches_a_chunk(
    connection: RawConnection, mailing_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "CHUNK", 100)
    await assert_narrow(connection, lambda c: endings.end_waiting(c, mailing_id, DeliveryState.EXPIRED), at_most=300)
    await assert_narrow(connection, endings.end_cancelled, at_most=0)
    await assert_narrow(connection, lambda c: endings.revoke_released(c, [mailing_id]), at_most=2000)


async def test_cancelling_touches_what_is_cancelled(connection: RawConnection) -> None:
    claimed = await many_rows.claimed(connection)
    ids = [recipient.delivery_id for recipient in claimed.recipients]
    await assert_narrow(connection, lambda c: rounds.cancel(c, ids), at_most=500)


async def test_choosing_touches_what_it_looks_at(connection: RawConnection, mailing_id: int) -> None:
    choice = Choice(
        [DeliveryState.REFUSED],
        outcome=OutcomeKind.REFUSED,
        domain="example.com",
        reply="5.1",
        bounce_class=BounceClass.NO_SUCH_USER,
    )
    await assert_narrow(
        connection, lambda c: choosing.choose(c, mailing_id, choice, "member-5"), at_most=choosing.SCANNED + 1
    )


async def test_sending_again_touches_what_is_sent_again(connection: RawConnection) -> None:
    claimed = await many_rows.claimed(connection)
    await stored.record_all(connection, claimed, REFUSED)
    ids = [recipient.delivery_id for recipient in claimed.recipients]
    await assert_narrow(connection, lambda c: rounds.send_again(c, ids, [DeliveryState.REFUSED]), at_most=500)


async def test_a_renewal_touches_no_large_table(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    await assert_narrow(connection, lambda c: nodes.renew(c, lease, nodes.Vitals()), at_most=0)


@pytest.mark.parametrize("after_key", ["", "member-5", "member-99999@example.com"])
async def test_a_page_of_deliveries_touches_itself(connection: RawConnection, mailing_id: int, after_key: str) -> None:
    everything = Choice(list(DeliveryState))
    page = partial(choosing.page, mailing_id=mailing_id, choice=everything, after_key=after_key, limit=100)
    await assert_narrow(connection, page, at_most=101)
    chosen = await page(connection)
    await assert_narrow(connection, lambda c: fates.of(c, mailing_id, chosen.delivery_ids), at_most=600)


async def test_a_filtered_page_touches_what_it_looks_at(
    connection: RawConnection, mailing_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "SCANNED_A_PAGE", 1000)
    for choice in (
        Choice([DeliveryState.REFUSED], domain="example.com"),
        Choice(list(DeliveryState), outcome=OutcomeKind.REFUSED, reply="5.1"),
        Choice(list(DeliveryState), bounce_class=BounceClass.NO_SUCH_USER),
    ):
        page = partial(choosing.page, mailing_id=mailing_id, choice=choice, after_key="member-5", limit=100)
        await assert_narrow(connection, page, at_most=1001)


async def test_counting_what_readers_did_touches_their_events(connection: RawConnection, mailing_id: int) -> None:
    await connection.execute("UPDATE mailing_lists SET tracking = 'full'")
    await connection.execute(
        "INSERT INTO tracked_links (mailing_id, url)"
        " SELECT $1, 'https://a.example/' || n FROM generate_series(1, 1000) n",
        mailing_id,
    )
    await connection.execute(
        "INSERT INTO tracking_events (id, mailing_id, delivery_id, link_id, at)"
        " SELECT gen_random_uuid(), mailing_id, id, 0, now() FROM deliveries WHERE mailing_id = $1 LIMIT 50000",
        mailing_id,
    )
    readers = await connection.fetch("SELECT id FROM deliveries WHERE mailing_id = $1 ORDER BY id LIMIT 50", mailing_id)
    events = [
        NewEvent(uuid4(), datetime.now(UTC), mailing_id, row["id"], url, None)
        for row in readers
        for url in (None, "https://a.example/7", "https://a.example/new")
    ]
    await assert_narrow(connection, lambda c: tracking.record(c, events), at_most=1000)
    assert (
        await connection.fetchval("SELECT count(*) FROM tracking_events WHERE delivery_id = $1", events[0].delivery_id)
        > 2
    )
