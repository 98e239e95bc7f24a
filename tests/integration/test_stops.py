"""Stopping: what is paused, cancelled, suppressed or past its time is not sent, wherever it is at that moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.scheduler.stopping import Stopper
from shared.contracts.topology import Lane
from shared.core.delivery import DeliveryState, OutcomeKind
from shared.store import batches, choosing, endings, mailings, release, rounds, stops
from shared.store.choosing import Choice
from shared.store.engine import Database, RawConnection
from tests.integration import stored
from tests.integration.stored import DEFERRED, DELIVERED, REFUSED, record, report


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[RawConnection]:
    async with stored.connected(database_url) as connection:
        await stored.empty(connection)
        yield connection
        await stored.assert_consistent(connection)


@pytest.fixture
async def stopper(database_url: str) -> AsyncIterator[Stopper]:
    database = Database(database_url, name="test", pool_size=2)
    yield Stopper(database)
    await database.close()


async def suppress(connection: RawConnection, email_key: str, *, ends_in_seconds: float | None = None) -> None:
    await connection.execute(
        "INSERT INTO suppressions (email_key, email, reason, ends_at) VALUES ($1, $1, 'manual', now() + $2::interval)",
        email_key,
        None if ends_in_seconds is None else timedelta(seconds=ends_in_seconds),
    )


async def waiting(connection: RawConnection) -> list[int]:
    async with connection.transaction():
        return [found.mailing_id for found in await release.waiting(connection, Lane.POSTS, count_to=100)]


async def test_a_paused_mailing_is_taken_back_and_released_again_when_it_is_resumed(
    connection: RawConnection, stopper: Stopper
) -> None:
    mailing_id = await stored.new_mailing(connection, 10)
    other = await stored.claimed_mailing(connection, 2, await stored.new_lease(connection))
    (batch_id,) = await stored.release_all(connection, mailing_id)
    await stops.pause(connection, mailing_id)
    await stopper.look()
    assert (await stored.batch_row(connection, batch_id)).state == "revoked"
    assert (await stops.read(connection)).mailing_ids == {mailing_id}
    assert await waiting(connection) == []
    assert await mailings.finish(connection) == []
    await stops.resume(connection, mailing_id)
    assert await waiting(connection) == [mailing_id]
    assert (await stops.read(connection)).mailing_ids == set()
    await stored.record_all(connection, other, DELIVERED)


async def test_a_cancelled_mailing_ends_and_what_is_under_way_counts(
    connection: RawConnection, stopper: Stopper
) -> None:
    lease = await stored.new_lease(connection)
    mailing_id = await stored.new_mailing(connection, 30)
    first, _, _ = await stored.release_all(connection, mailing_id, batch_size=10)
    claimed = await stored.claim(connection, first, lease)
    assert claimed is not None
    await stops.cancel(connection, mailing_id)
    await stopper.look()
    assert await stored.states(connection, mailing_id) == {"cancelled": 20, "open": 10}
    await record(connection, [report(claimed, claimed.recipients[0], DELIVERED)], {first: 9})
    await record(connection, [report(claimed, claimed.recipients[1], DEFERRED)], {first: 8})
    rest = [recipient.delivery_id for recipient in claimed.recipients[2:]]
    await batches.hand_back(connection, first, claimed.claim, rest, unstarted=0)
    await stopper.look()
    assert await stored.states(connection, mailing_id) == {"cancelled": 29, "delivered": 1}
    assert await mailings.finish(connection) == [mailing_id]


async def test_a_mailing_that_is_cancelled_while_it_is_expanded_is_expanded_no_more(
    connection: RawConnection, stopper: Stopper
) -> None:
    mailing_id = await stored.new_mailing(connection, 10, expand=False)
    await stops.cancel(connection, mailing_id)
    await stopper.look()
    assert await stored.states(connection, mailing_id) == {}
    assert await mailings.finish(connection) == [mailing_id]


@pytest.mark.parametrize("column", ["gives_up_at", "not_after_at"])
async def test_what_is_open_at_the_end_expires(connection: RawConnection, stopper: Stopper, column: str) -> None:
    claimed = await stored.claimed_mailing(connection, 3, await stored.new_lease(connection))
    await connection.execute(f"UPDATE mailings SET {column} = now()")
    await record(connection, [report(claimed, claimed.recipients[0], DELIVERED)], {claimed.id: 2})
    await record(connection, [report(claimed, claimed.recipients[1], DEFERRED)], {claimed.id: 1})
    await stopper.look()
    assert await stored.states(connection, claimed.mailing_id) == {"delivered": 1, "expired": 1, "open": 1}
    await record(connection, [report(claimed, claimed.recipients[2], REFUSED)], {claimed.id: 0})
    assert await mailings.finish(connection) == [claimed.mailing_id]


async def test_nodes_stop_ahead_of_the_last_moment(connection: RawConnection, stopper: Stopper) -> None:
    mailing_id = await stored.new_mailing(connection, 3)
    await connection.execute("UPDATE mailings SET not_after_at = now() + interval '2 s'")
    assert (await stops.read(connection)).mailing_ids == {mailing_id}
    assert await waiting(connection) == []
    await stopper.look()
    assert await stored.states(connection, mailing_id) == {"open": 3}, "it is not over yet"


async def test_a_list_says_when_its_mailings_are_given_up(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    await connection.execute("UPDATE mailing_lists SET give_up_after_seconds = 60 WHERE id = $1", list_id)
    mailing_id = await stored.mailing_to(connection, list_id)
    row = await connection.fetchrow(
        "SELECT gives_up_at - created_at = interval '60 s' AS is_so FROM mailings WHERE id = $1", mailing_id
    )
    assert row is not None and row["is_so"]


async def test_a_mailing_whose_list_says_nothing_is_given_up_after_five_days(connection: RawConnection) -> None:
    mailing_id = await stored.mailing_to(connection, await stored.new_list(connection, 1))
    age = await connection.fetchval("SELECT gives_up_at - created_at FROM mailings WHERE id = $1", mailing_id)
    assert age == timedelta(days=5)


async def test_a_claim_brings_the_lists_waits(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    await connection.execute("UPDATE mailing_lists SET retry_schedule_seconds = '{1,2.5}' WHERE id = $1", list_id)
    (batch_id,) = await stored.release_all(connection, await stored.mailing_to(connection, list_id))
    claimed = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert claimed is not None
    assert claimed.retry_schedule_seconds == (1, 2.5)


async def test_who_was_suppressed_since_the_release_is_not_claimed(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 3)
    (batch_id,) = await stored.release_all(connection, mailing_id)
    await suppress(connection, "member-2@example.com")
    await suppress(connection, "member-3@example.com", ends_in_seconds=-1)
    claimed = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert claimed is not None
    assert [recipient.address for recipient in claimed.recipients] == ["Member-1@example.com", "Member-3@example.com"]
    row = await stored.batch_row(connection, batch_id)
    assert (row.state, row.open, row.unstarted) == ("claimed", 2, 2)
    assert await stored.states(connection, mailing_id) == {"open": 2, "suppressed": 1}


async def test_a_batch_of_suppressed_recipients_only_is_closed(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 1)
    (batch_id,) = await stored.release_all(connection, mailing_id)
    await suppress(connection, "member-1@example.com")
    claimed = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert claimed is not None
    assert claimed.recipients == ()
    assert (await stored.batch_row(connection, batch_id)).state == "closed"
    assert await mailings.finish(connection) == [mailing_id]


async def test_nodes_read_what_was_suppressed_a_moment_ago(connection: RawConnection) -> None:
    await suppress(connection, "new@example.com")
    await suppress(connection, "old@example.com")
    await connection.execute(
        "UPDATE suppressions SET created_at = now() - interval '1 min' WHERE email_key = 'old@example.com'"
    )
    assert (await stops.read(connection)).email_keys == {"new@example.com"}


async def test_a_cancelled_delivery_ends_where_it_is(connection: RawConnection, stopper: Stopper) -> None:
    lease = await stored.new_lease(connection)
    mailing_id = await stored.new_mailing(connection, 30)
    first, second = (await stored.release_all(connection, mailing_id, batch_size=10))[:2]
    await endings.revoke_released(connection, [])
    claimed = await stored.claim(connection, first, lease)
    assert claimed is not None
    ids = [row["id"] for row in await connection.fetch("SELECT id FROM deliveries ORDER BY id")]
    chosen = [claimed.recipients[0].delivery_id, ids[10], ids[20]]
    cancelled, in_batches = await rounds.cancel(connection, chosen)
    assert cancelled == 3
    assert in_batches[first] == (chosen[0],)
    assert (await rounds.cancel(connection, chosen))[0] == 0
    assert (await stops.read(connection)).delivery_ids == set(chosen)
    # Claimed and deferred; released and claimed; released and taken back: each ends.
    await record(connection, [report(claimed, claimed.recipients[0], DEFERRED)], {first: 9})
    again = await stored.claim(connection, second, lease)
    assert again is not None
    assert len(again.recipients) == 9
    await endings.revoke_released(connection, [mailing_id])
    await stopper.look()
    assert await stored.states(connection, mailing_id) == {"cancelled": 3, "open": 27}


async def test_deliveries_are_chosen_by_state_domain_and_last_outcome(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 4, await stored.new_lease(connection))
    pairs = zip(claimed.recipients, [DELIVERED, REFUSED, DEFERRED], strict=False)
    await record(connection, [report(claimed, *pair) for pair in pairs], {claimed.id: 1})
    ids = [recipient.delivery_id for recipient in claimed.recipients]

    async def choose(*states: DeliveryState, **more: object) -> list[int]:
        choice = Choice(states, **more)  # type: ignore[arg-type]
        return (await choosing.choose(connection, claimed.mailing_id, choice, "")).delivery_ids

    assert await choose(DeliveryState.OPEN) == ids[2:]
    assert await choose(DeliveryState.OPEN, outcome=OutcomeKind.DEFERRED) == ids[2:3]
    assert await choose(*DeliveryState, domain="example.com") == ids
    assert await choose(*DeliveryState, domain="xample.com") == []
    assert await choose(*DeliveryState, delivery_id=ids[1]) == ids[1:2]
    assert await choose(DeliveryState.OPEN, delivery_id=ids[1]) == []


async def test_what_is_sent_again_has_a_new_round(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 2, lease)
    pairs = zip(claimed.recipients, [DELIVERED, REFUSED], strict=True)
    await record(connection, [report(claimed, *pair) for pair in pairs], {claimed.id: 0})
    await mailings.finish(connection)
    ids = [recipient.delivery_id for recipient in claimed.recipients]
    async with connection.transaction():
        assert await rounds.open_mailing(connection, claimed.mailing_id)
        assert await rounds.send_again(connection, ids, [DeliveryState.REFUSED]) == 1
        assert await rounds.send_again(connection, ids, [DeliveryState.REFUSED]) == 0
    assert await stored.states(connection, claimed.mailing_id) == {"delivered": 1, "open": 1}
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    again = await stored.claim(connection, batch_id, lease)
    assert again is not None
    assert [(recipient.round, recipient.attempt) for recipient in again.recipients] == [(2, 1)]
    # What the first round reported once more does not end the second.
    await record(connection, [report(claimed, claimed.recipients[1], REFUSED)], {})
    await stored.record_all(connection, again, DELIVERED)
    assert await stored.states(connection, claimed.mailing_id) == {"delivered": 2}
    assert await mailings.finish(connection) == [claimed.mailing_id]


async def test_a_repeated_report_does_not_end_the_round_that_was_asked_for(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 1, await stored.new_lease(connection))
    await stored.record_all(connection, claimed, DELIVERED)
    async with connection.transaction():
        assert await rounds.open_mailing(connection, claimed.mailing_id)
        await rounds.send_again(connection, [claimed.recipients[0].delivery_id], [DeliveryState.DELIVERED])
    await stored.record_all(connection, claimed, DELIVERED)
    assert await stored.states(connection, claimed.mailing_id) == {"open": 1}


async def test_a_suppressed_address_is_not_sent_to_again(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 1, await stored.new_lease(connection))
    await stored.record_all(connection, claimed, REFUSED)
    await suppress(connection, "member-1@example.com")
    async with connection.transaction():
        assert await rounds.open_mailing(connection, claimed.mailing_id)
        assert await rounds.send_again(connection, [claimed.recipients[0].delivery_id], list(DeliveryState)) == 0
    assert await stored.states(connection, claimed.mailing_id) == {"refused": 1}


async def test_trying_now_does_not_wait_for_the_schedule(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 1, await stored.new_lease(connection))
    await stored.record_all(connection, claimed, DEFERRED)
    assert await stored.release_all(connection, claimed.mailing_id) == []
    async with connection.transaction():
        assert await rounds.open_mailing(connection, claimed.mailing_id)
        assert await rounds.send_again(connection, [claimed.recipients[0].delivery_id], [DeliveryState.OPEN]) == 1
    assert len(await stored.release_all(connection, claimed.mailing_id)) == 1
