"""Outcomes: written once, repeated harmlessly, kept when late; and *delivered* wins."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import Reply
from shared.store import batches, mailings
from shared.store.claims import ClaimedBatch
from shared.store.engine import RawConnection
from tests.integration import stored
from tests.integration.stored import DEFERRED, DELIVERED, REFUSED, UNKNOWN, record, report


async def attempts_of(connection: RawConnection, delivery_id: int) -> list[tuple[int, str]]:
    rows = await connection.fetch(
        "SELECT attempt, outcome FROM attempts WHERE delivery_id = $1 ORDER BY attempt", delivery_id
    )
    return [(row["attempt"], row["outcome"]) for row in rows]


async def test_each_outcome_has_its_consequence(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 4, await stored.new_lease(connection))
    outcomes = [DELIVERED, REFUSED, DEFERRED, UNKNOWN]
    reports = [report(claimed, *pair) for pair in zip(claimed.recipients, outcomes, strict=True)]
    recorded = await record(connection, reports, {claimed.id: 0})
    assert (recorded.in_time, recorded.late, recorded.to_cancel) == (4, 0, {})
    states = [await stored.delivery_state(connection, recipient.delivery_id) for recipient in claimed.recipients]
    assert states == ["delivered", "refused", "open", "open"]
    row = await stored.batch_row(connection, claimed.id)
    assert (row.state, row.open, row.unstarted) == ("closed", 0, 0)
    assert (row.delivered, row.refused, row.deferred, row.unknown) == (1, 1, 1, 0)
    waiting = await connection.fetch("SELECT attempt, due_at > now() + interval '290 s' AS is_later FROM outstanding")
    assert [tuple(row) for row in waiting] == [(2, True), (2, True)]


async def test_who_was_refused_for_volume_goes_out_by_another_node_too(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 1, await stored.new_lease(connection))
    busy = Outcome(OutcomeKind.DEFERRED, "421 to RCPT", Reply(421, "4.7.0 too much from you"), "mx.example.net")
    (recipient,) = claimed.recipients
    await record(connection, [report(claimed, recipient, busy, retry_after_seconds=0)], {claimed.id: 0})
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    other = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert other is not None
    assert [(again.delivery_id, again.attempt) for again in other.recipients] == [(recipient.delivery_id, 2)]


async def test_the_remotes_own_words_are_kept(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 1, await stored.new_lease(connection))
    await stored.record_all(connection, claimed, REFUSED)
    row = await connection.fetchrow(
        "SELECT because, reply_code, reply_text, remote_host, node_name, batch_id FROM attempts"
    )
    assert row is not None
    assert tuple(row) == ("550 to RCPT", 550, "5.1.1 nobody", "mx.example.net", "outbound-1", claimed.id)


@pytest.mark.parametrize("outcome", [DELIVERED, REFUSED, DEFERRED, UNKNOWN])
async def test_a_group_recorded_twice_is_recorded_once(connection: RawConnection, outcome: Outcome) -> None:
    claimed = await stored.claimed_mailing(connection, 6, await stored.new_lease(connection))
    half = [report(claimed, recipient, outcome) for recipient in claimed.recipients[:3]]
    await record(connection, half, {claimed.id: 3})
    once = await stored.batch_row(connection, claimed.id)
    again = await record(connection, half, {claimed.id: 3})
    assert again.late == 0
    assert await stored.batch_row(connection, claimed.id) == once
    assert await connection.fetchval("SELECT count(*) FROM attempts") == 3


@pytest.mark.parametrize("outcome", [DELIVERED, REFUSED, DEFERRED, UNKNOWN])
async def test_the_last_group_of_a_batch_recorded_twice_is_recorded_once(
    connection: RawConnection, outcome: Outcome
) -> None:
    claimed = await stored.claimed_mailing(connection, 3, await stored.new_lease(connection))
    first = await stored.record_all(connection, claimed, outcome)
    once = await stored.batch_row(connection, claimed.id)
    again = await stored.record_all(connection, claimed, outcome)
    assert (first.in_time, again.in_time, again.late) == (3, 3, 0)
    assert await stored.batch_row(connection, claimed.id) == once
    assert await connection.fetchval("SELECT count(*) FROM attempts") == 3
    rows = await connection.fetch("SELECT DISTINCT attempt FROM outstanding")
    assert {row["attempt"] for row in rows} <= {2}


async def test_a_repeated_deferral_does_not_move_a_recipient_that_others_have_by_now(
    connection: RawConnection,
) -> None:
    lease = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 1, lease)
    await stored.record_all(connection, claimed, DEFERRED)
    await stored.make_due(connection)
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    await stored.record_all(connection, claimed, DEFERRED)
    row = await connection.fetchrow("SELECT batch_id, attempt FROM outstanding")
    assert row is not None
    assert tuple(row) == (batch_id, 2)


async def test_outcomes_of_several_batches_are_recorded_together(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    claims = [await stored.claimed_mailing(connection, 3, lease) for _ in range(3)]
    reports = [report(claimed, claimed.recipients[0], DELIVERED) for claimed in reversed(claims)]
    await record(connection, reports, {claimed.id: 1 for claimed in claims})
    rows = [await stored.batch_row(connection, claimed.id) for claimed in claims]
    assert {(row.open, row.unstarted, row.delivered) for row in rows} == {(2, 1, 1)}


async def test_a_second_unknown_of_a_round_is_final(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 2, lease)
    await record(connection, [report(claimed, claimed.recipients[0], UNKNOWN)], {claimed.id: 1})
    await record(connection, [report(claimed, claimed.recipients[1], DEFERRED)], {claimed.id: 0})
    assert await stored.states(connection, claimed.mailing_id) == {"open": 2}
    await stored.make_due(connection)
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    again = await stored.claim(connection, batch_id, lease)
    assert again is not None
    await stored.record_all(connection, again, UNKNOWN)
    assert await stored.delivery_state(connection, claimed.recipients[0].delivery_id) == "unknown"
    assert await stored.delivery_state(connection, claimed.recipients[1].delivery_id) == "open"
    assert (await stored.batch_row(connection, batch_id)).unknown == 1
    await stored.record_all(connection, again, UNKNOWN)
    assert await stored.states(connection, claimed.mailing_id) == {"unknown": 1, "open": 1}


async def test_what_is_delivered_late_is_counted_once_whatever_it_had_come_to(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    first = await stored.claimed_mailing(connection, 1, lease)
    await stored.lose(connection, lease)
    (batch_id,) = await stored.release_all(connection, first.mailing_id)
    second = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert second is not None
    await stored.record_all(connection, second, REFUSED)
    await stored.assert_consistent(connection)
    await stored.record_all(connection, first, DELIVERED)
    assert await stored.states(connection, first.mailing_id) == {"delivered": 1}
    await stored.assert_consistent(connection)


@pytest.mark.parametrize(
    "words", ["a\x00b", "\x1b[31mred", "half \ufffd", "é" * 5000, "\u2028", "'; DROP TABLE attempts; --", "\U0001f4a9"]
)
async def test_odd_words_of_the_remote_are_stored(connection: RawConnection, words: str) -> None:
    claimed = await stored.claimed_mailing(connection, 1, await stored.new_lease(connection))
    await stored.record_all(connection, claimed, Outcome(OutcomeKind.REFUSED, words, Reply(550, words), "mx.test"))
    row = await connection.fetchrow("SELECT because, reply_text FROM attempts")
    assert row is not None
    assert 0 < len(row["because"]) <= 1000 and "\x00" not in row["reply_text"]


# Late reports


async def test_a_late_report_is_kept_as_history(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 3, lease)
    await stored.lose(connection, lease)
    recorded = await record(
        connection,
        [report(claimed, *pair) for pair in zip(claimed.recipients, [REFUSED, DEFERRED, UNKNOWN], strict=True)],
    )
    assert (recorded.late, recorded.to_cancel) == (3, {})
    assert await stored.states(connection, claimed.mailing_id) == {"open": 3}
    assert await attempts_of(connection, claimed.recipients[0].delivery_id) == [(1, "refused")]
    rows = await connection.fetch("SELECT attempt, deaths, batch_id FROM outstanding")
    assert [tuple(row) for row in rows] == [(2, 1, None)] * 3


async def test_delivered_late_ends_what_waits(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 2, lease)
    await stored.lose(connection, lease)
    recorded = await stored.record_all(connection, claimed, DELIVERED)
    assert (recorded.late, recorded.to_cancel) == (2, {})
    assert await stored.states(connection, claimed.mailing_id) == {"delivered": 2}
    assert await stored.release_all(connection, claimed.mailing_id) == []
    assert await mailings.finish(connection) == [claimed.mailing_id]


async def test_delivered_late_is_taken_out_of_a_released_batch(connection: RawConnection) -> None:
    lease, other = await stored.new_lease(connection), await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 3, lease)
    await stored.lose(connection, lease)
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    recorded = await record(connection, [report(claimed, claimed.recipients[0], DELIVERED)])
    assert recorded.to_cancel == {}
    theirs = await stored.claim(connection, batch_id, other)
    assert theirs is not None
    assert [r.delivery_id for r in theirs.recipients] == [r.delivery_id for r in claimed.recipients[1:]]
    assert (await stored.batch_row(connection, batch_id)).open == 2


async def test_a_released_batch_that_is_emptied_is_revoked(connection: RawConnection) -> None:
    lease, other = await stored.new_lease(connection), await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 3, lease)
    await stored.lose(connection, lease)
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    await stored.record_all(connection, claimed, DELIVERED)
    assert (await stored.batch_row(connection, batch_id)).state == "revoked"
    assert await stored.claim(connection, batch_id, other) is None
    assert await mailings.finish(connection) == [claimed.mailing_id]


async def second_copy(connection: RawConnection) -> tuple[ClaimedBatch, ClaimedBatch]:
    """A batch that was taken over, and the batch of another node that has the same recipients."""
    lease, other = await stored.new_lease(connection), await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 3, lease)
    await stored.lose(connection, lease)
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    theirs = await stored.claim(connection, batch_id, other)
    assert theirs is not None
    return claimed, theirs


async def test_delivered_late_with_the_second_copy_claimed_asks_for_its_cancellation(
    connection: RawConnection,
) -> None:
    claimed, theirs = await second_copy(connection)
    recorded = await record(connection, [report(claimed, r, DELIVERED) for r in claimed.recipients[:2]])
    assert {batch: set(ids) for batch, ids in recorded.to_cancel.items()} == {
        theirs.id: {r.delivery_id for r in claimed.recipients[:2]}
    }
    assert await stored.states(connection, claimed.mailing_id) == {"delivered": 2, "open": 1}


@pytest.mark.parametrize("outcome", [DELIVERED, REFUSED, DEFERRED, UNKNOWN])
async def test_whatever_the_second_copy_comes_to_the_delivery_stays_delivered_and_ends(
    connection: RawConnection, outcome: Outcome
) -> None:
    claimed, theirs = await second_copy(connection)
    await stored.record_all(connection, claimed, DELIVERED)
    await stored.record_all(connection, theirs, outcome)
    assert await stored.states(connection, claimed.mailing_id) == {"delivered": 3}
    assert await connection.fetchval("SELECT count(*) FROM outstanding") == 0
    assert await attempts_of(connection, claimed.recipients[0].delivery_id) == [
        (1, "delivered"),
        (2, outcome.kind.value),
    ]
    assert (await stored.batch_row(connection, theirs.id)).delivered == 0
    assert await mailings.finish(connection) == [claimed.mailing_id]


async def test_a_cancelled_second_copy_that_goes_back_is_not_released_again(connection: RawConnection) -> None:
    claimed, theirs = await second_copy(connection)
    await record(connection, [report(claimed, claimed.recipients[0], DELIVERED)])
    await batches.hand_back_whole(connection, theirs.id, theirs.claim)
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    assert (await stored.batch_row(connection, batch_id)).open == 2


async def test_a_second_copy_whose_node_dies_too_is_not_released_again(connection: RawConnection) -> None:
    claimed, _ = await second_copy(connection)
    await stored.record_all(connection, claimed, DELIVERED)
    await connection.execute("UPDATE nodes SET state = 'left'")
    assert await batches.take_over_orphans(connection) == 0
    assert await connection.fetchval("SELECT count(*) FROM outstanding") == 0


@pytest.mark.parametrize("outcome", [REFUSED, DELIVERED])
async def test_delivered_late_wins_over_an_end_that_came_before(connection: RawConnection, outcome: Outcome) -> None:
    claimed, theirs = await second_copy(connection)
    await stored.record_all(connection, theirs, outcome)
    await stored.record_all(connection, claimed, DELIVERED)
    assert await stored.states(connection, claimed.mailing_id) == {"delivered": 3}


async def test_a_late_report_repeated_is_kept_once(connection: RawConnection) -> None:
    claimed, _ = await second_copy(connection)
    reports = [report(claimed, recipient, DELIVERED) for recipient in claimed.recipients]
    first, again = await record(connection, reports), await record(connection, reports)
    assert (first.late, again.late) == (3, 0)
    assert again.to_cancel == first.to_cancel, "the cancellation may have been lost, so it is asked for again"
    assert await connection.fetchval("SELECT count(*) FROM attempts") == 3


async def test_two_late_copies_of_one_delivery_in_one_group_count_once(connection: RawConnection) -> None:
    first, second = await second_copy(connection)
    await connection.execute("UPDATE nodes SET state = 'left'")
    await batches.take_over_orphans(connection)
    await stored.release_all(connection, first.mailing_id, batch_size=1)
    batch_id = await connection.fetchval(
        "SELECT batch_id FROM outstanding WHERE delivery_id = $1", first.recipients[0].delivery_id
    )
    await record(connection, [report(batch, batch.recipients[0], DELIVERED) for batch in (first, second)])
    assert (await stored.batch_row(connection, batch_id)).state == "revoked"
    assert (await stored.batch_row(connection, batch_id)).open == 0


async def test_a_group_may_hold_reports_in_time_and_late(connection: RawConnection) -> None:
    first, second = await second_copy(connection)
    recorded = await record(
        connection,
        [report(first, first.recipients[0], REFUSED), report(second, second.recipients[1], DELIVERED)],
        {second.id: 0, first.id: 0},
    )
    assert (recorded.in_time, recorded.late) == (1, 1)
    assert await stored.states(connection, first.mailing_id) == {"delivered": 1, "open": 2}


async def test_a_report_of_a_batch_that_nobody_knows_is_history(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 1, await stored.new_lease(connection))
    await connection.execute("UPDATE batches SET claim = $1", UUID(int=7))
    recorded = await stored.record_all(connection, claimed, REFUSED)
    assert recorded.late == 1
    assert await stored.states(connection, claimed.mailing_id) == {"open": 1}
