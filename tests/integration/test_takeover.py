"""Takeover: a dead node's recipients go to the others, whatever else happens at the same moment."""

from __future__ import annotations

import asyncio
from random import Random
from uuid import uuid4

import pytest

from shared.core.node import LeftBecause
from shared.store import batches, mailings, nodes
from shared.store.claims import ClaimedBatch, Recipient
from shared.store.engine import RawConnection
from shared.store.outcomes import Report
from tests.integration import stored
from tests.integration.stored import DEFERRED, DELIVERED, REFUSED, UNKNOWN, record, report


async def test_a_dead_nodes_recipients_without_an_outcome_wait_for_others(connection: RawConnection) -> None:
    dead = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 10, dead)
    await record(connection, [report(claimed, r, DELIVERED) for r in claimed.recipients[:4]], {claimed.id: 6})
    assert await stored.lose(connection, dead) == 6
    row = await stored.batch_row(connection, claimed.id)
    assert (row.state, row.open, row.unstarted, row.delivered) == ("revoked", 0, 0, 4)
    rows = await connection.fetch("SELECT attempt, deaths, batch_id FROM outstanding")
    assert [tuple(row) for row in rows] == [(2, 1, None)] * 6


async def test_a_live_nodes_claims_are_left_alone(connection: RawConnection) -> None:
    live, dead = await stored.new_lease(connection), await stored.new_lease(connection)
    ours = await stored.claimed_mailing(connection, 3, live)
    await stored.claimed_mailing(connection, 4, dead)
    assert await stored.lose(connection, dead) == 4
    assert (await stored.batch_row(connection, ours.id)).state == "claimed"


async def test_taking_over_twice_takes_over_once(connection: RawConnection) -> None:
    dead = await stored.new_lease(connection)
    await stored.claimed_mailing(connection, 3, dead)
    assert await stored.lose(connection, dead) == 3
    assert await batches.take_over_orphans(connection) == 0
    assert await connection.fetchval("SELECT max(deaths) FROM outstanding") == 1


async def test_many_batches_are_taken_over_some_at_a_time(
    connection: RawConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "TAKEN_OVER_AT_ONCE", 2)
    dead = await stored.new_lease(connection)
    for _ in range(5):
        await stored.claimed_mailing(connection, 2, dead)
    assert await stored.lose(connection, dead) == 10


async def test_what_a_node_left_behind_that_said_good_bye_is_taken_over_too(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    await stored.claimed_mailing(connection, 2, lease)
    await nodes.leave(connection, lease.incarnation, LeftBecause.DRAINED)
    assert await batches.take_over_orphans(connection) == 2


async def test_an_earlier_life_under_the_same_name_is_taken_over(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection, "berlin")
    await stored.claimed_mailing(connection, 2, lease)
    await nodes.leave(connection, lease.incarnation, LeftBecause.LOST)
    await stored.new_lease(connection, "berlin")
    assert await batches.take_over_orphans(connection) == 2


async def die_with_it(connection: RawConnection, mailing_id: int, times: int) -> None:
    """So many nodes die with the mailing's recipients in their hands."""
    for _ in range(times):
        lease = await stored.new_lease(connection)
        await connection.execute("UPDATE outstanding SET due_at = now()")
        for batch_id in await stored.release_all(connection, mailing_id):
            assert await stored.claim(connection, batch_id, lease) is not None
        await stored.lose(connection, lease)


async def test_after_two_deaths_a_recipient_is_released_alone(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 3)
    await die_with_it(connection, mailing_id, 1)
    assert len(await stored.release_all(connection, mailing_id)) == 1
    await connection.execute("UPDATE batches SET state = 'revoked', open = 0, unstarted = 0, closed_at = now()")
    await connection.execute("UPDATE outstanding SET batch_id = NULL, deaths = 2")
    assert len(await stored.release_all(connection, mailing_id)) == 3


async def test_after_two_deaths_recipients_are_due_one_after_the_other(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 3)
    await die_with_it(connection, mailing_id, 1)
    assert await connection.fetchval("SELECT count(*) FROM outstanding WHERE due_at <= now()") == 3
    await die_with_it(connection, mailing_id, 1)
    rows = await connection.fetch("SELECT extract(epoch FROM due_at)::float AS due FROM outstanding ORDER BY due_at")
    first = rows[0]["due"]
    assert [row["due"] - first for row in rows] == pytest.approx([0, 0.5, 1])


async def test_after_two_deaths_recipients_of_several_batches_wait_for_one_another_and_new_ones_for_nobody(
    connection: RawConnection,
) -> None:
    twice = [await stored.new_mailing(connection, 2) for _ in range(2)]
    for mailing_id in twice:
        await die_with_it(connection, mailing_id, 1)
    lease = await stored.new_lease(connection)
    for mailing_id in twice:
        (batch_id,) = await stored.release_all(connection, mailing_id)
        assert await stored.claim(connection, batch_id, lease)
    once = (await stored.claimed_mailing(connection, 3, lease)).mailing_id
    assert await stored.lose(connection, lease) == 7
    rows = await connection.fetch(
        "SELECT mailing_id, extract(epoch FROM due_at)::float AS due FROM outstanding ORDER BY due_at"
    )
    first = rows[0]["due"]
    assert [row["due"] - first for row in rows if row["mailing_id"] == once] == [0, 0, 0]
    assert [row["due"] - first for row in rows if row["mailing_id"] in twice] == pytest.approx([0, 0.5, 1, 1.5])


async def test_after_two_deaths_many_recipients_are_due_within_half_a_minute(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 300)
    await die_with_it(connection, mailing_id, 2)
    spread = await connection.fetchval("SELECT extract(epoch FROM max(due_at) - min(due_at))::float FROM outstanding")
    assert 29 < spread < 30


async def test_after_five_deaths_a_recipient_is_parked_with_its_history(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 2)
    await die_with_it(connection, mailing_id, 4)
    assert await stored.states(connection, mailing_id) == {"open": 2}
    await die_with_it(connection, mailing_id, 1)
    assert await stored.states(connection, mailing_id) == {"parked": 2}
    assert await connection.fetchval("SELECT count(*) FROM outstanding") == 0
    assert await connection.fetchval("SELECT sum(parked) FROM batches") == 2
    assert await mailings.finish(connection) == [mailing_id]


async def test_recipients_are_parked_in_the_order_of_their_ids(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 200)
    await die_with_it(connection, mailing_id, 5)
    kept = [row["delivery_id"] for row in await connection.fetch("SELECT delivery_id FROM parked ORDER BY id")]
    assert len(kept) == 200
    assert kept == sorted(kept)


async def test_what_was_parked_and_delivered_after_all_is_delivered(connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 1)
    await die_with_it(connection, mailing_id, 4)
    await connection.execute("UPDATE outstanding SET due_at = now()")
    lease = await stored.new_lease(connection)
    (batch_id,) = await stored.release_all(connection, mailing_id)
    last = await stored.claim(connection, batch_id, lease)
    assert last is not None
    await stored.lose(connection, lease)
    assert await stored.states(connection, mailing_id) == {"parked": 1}
    await stored.record_all(connection, last, DELIVERED)
    assert await stored.states(connection, mailing_id) == {"delivered": 1}


async def test_a_release_that_takes_a_recipient_right_now_does_not_lose_its_late_delivery(
    connection: RawConnection, database_url: str
) -> None:
    """The row moves from no batch into a new one between the look at it and the lock."""
    lease = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 3, lease)
    await stored.lose(connection, lease)
    async with stored.connected(database_url) as releasing:
        release = releasing.transaction()
        await release.start()
        (batch_id,) = await stored.release_all(releasing, claimed.mailing_id)
        late = asyncio.create_task(record(connection, [report(claimed, claimed.recipients[0], DELIVERED)]))
        while not await releasing.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not late.done()
            await asyncio.sleep(0.01)
        await release.commit()
    recorded = await late
    assert (recorded.late, recorded.to_cancel) == (1, {})
    row = await stored.batch_row(connection, batch_id)
    assert (row.state, row.open, row.unstarted) == ("released", 2, 2)
    assert await stored.states(connection, claimed.mailing_id) == {"delivered": 1, "open": 2}


class Chaos:
    """Nodes that claim, report, hand back, die and come back as ghosts, with releases and takeovers all the while."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.random = Random(seed)  # noqa: S311 - the same story for the same seed
        self.is_calm = False
        self.is_over = False
        self.mailing_ids: list[int] = []

    async def node(self) -> None:
        async with stored.connected(self.url) as connection:
            while not self.is_over:
                lease = await stored.new_lease(connection)
                held: list[tuple[ClaimedBatch, list[Recipient]]] = []
                for _ in range(self.random.randint(4, 30)):
                    await self._act(connection, lease, held)
                    await asyncio.sleep(0)
                await self._end(connection, lease, held)

    async def _act(
        self, connection: RawConnection, lease: nodes.Lease, held: list[tuple[ClaimedBatch, list[Recipient]]]
    ) -> None:
        action = self.random.choice(["claim", "claim", "record", "record", "record", "hand back", "unstarted"])
        if action == "claim" or not held:
            released = await connection.fetch("SELECT id FROM batches WHERE state = 'released'")
            if released:
                batch_id, token = self.random.choice(released)["id"], uuid4()
                at_most = self.random.choice([2, 100])
                claimed = await stored.claim(connection, batch_id, lease, at_most=at_most, token=token)
                if claimed and self.random.random() < 0.2:
                    claimed = await stored.claim(connection, batch_id, lease, at_most=at_most, token=token)
                if claimed:
                    held.append((claimed, list(claimed.recipients)))
        elif action == "record":
            await self._record(connection, lease, held)
        elif action == "hand back":
            claimed, left = self.random.choice(held)
            back = [left.pop() for _ in range(self.random.randint(0, len(left)))]
            ids = [recipient.delivery_id for recipient in back]
            await batches.hand_back(connection, claimed.id, claimed.claim, ids, unstarted=len(left))
        else:
            claims = {claimed.id: (claimed.claim, len(left)) for claimed, left in held}
            await batches.report_unstarted(connection, claims)
        held[:] = [(claimed, left) for claimed, left in held if left]

    async def _record(
        self, connection: RawConnection, lease: nodes.Lease, held: list[tuple[ClaimedBatch, list[Recipient]]]
    ) -> None:
        reports: list[Report] = []
        for claimed, left in held:
            for _ in range(self.random.randint(0, min(3, len(left)))):
                reports.append(self._report(claimed, left.pop(self.random.randrange(len(left)))))  # noqa: PERF401
        self.random.shuffle(reports)
        unstarted = {claimed.id: len(left) for claimed, left in held}
        for _ in range(self.random.choice([1, 1, 1, 2])):
            await record(connection, reports, unstarted, node_name=lease.name)

    def _report(self, claimed: ClaimedBatch, recipient: Recipient) -> Report:
        outcomes = [DELIVERED] if self.is_calm else [DELIVERED, DELIVERED, DEFERRED, UNKNOWN, REFUSED]
        return report(claimed, recipient, self.random.choice(outcomes), retry_after_seconds=0)

    async def _end(
        self, connection: RawConnection, lease: nodes.Lease, held: list[tuple[ClaimedBatch, list[Recipient]]]
    ) -> None:
        if self.is_calm or self.random.random() < 0.5:
            for claimed, left in held:
                ids = [recipient.delivery_id for recipient in left]
                await batches.hand_back(connection, claimed.id, claimed.claim, ids, unstarted=0)
            await nodes.leave(connection, lease.incarnation, LeftBecause.DRAINED)
            return
        await nodes.leave(connection, lease.incarnation, LeftBecause.LOST)
        for _ in range(3):
            # What was in flight when it died comes to an end, late.
            await asyncio.sleep(self.random.random() * 0.02)
            await self._record(connection, lease, held)

    async def releasing(self) -> None:
        async with stored.connected(self.url) as connection:
            while not self.is_over:
                async with connection.transaction():
                    await stored.release_all(
                        connection, self.random.choice(self.mailing_ids), self.random.choice([1, 5, 20])
                    )
                await asyncio.sleep(0.005)

    async def taking_over(self) -> None:
        async with stored.connected(self.url) as connection:
            while not self.is_over:
                await batches.take_over_orphans(connection)
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_happens_at_once_every_delivery_ends_once_and_what_was_delivered_stays_delivered(
    connection: RawConnection, database_url: str, seed: int
) -> None:
    chaos = Chaos(database_url, seed)
    chaos.mailing_ids = [await stored.new_mailing(connection, 150) for _ in range(2)]
    actors = [chaos.node() for _ in range(6)] + [chaos.releasing(), chaos.releasing()]
    tasks = [asyncio.create_task(actor) for actor in (*actors, chaos.taking_over(), chaos.taking_over())]
    try:
        async with asyncio.timeout(60):
            for turn in range(10_000):
                chaos.is_calm = turn > 30
                await asyncio.sleep(0.05)
                for task in tasks:
                    if task.done():
                        task.result()
                if not await connection.fetchval("SELECT count(*) FROM deliveries WHERE state = 'open'"):
                    break
    finally:
        chaos.is_over = True
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [None] * len(tasks)
    # What the last ghosts still had is nobody's now.
    await connection.execute("UPDATE nodes SET state = 'left'")
    await batches.take_over_orphans(connection)
    assert await connection.fetchval("SELECT count(*) FROM outstanding") == 0
    assert sorted(await mailings.finish(connection)) == chaos.mailing_ids
    wrong = await connection.fetch(
        """
        SELECT d.id, d.state, array_agg(a.outcome) AS outcomes FROM deliveries d LEFT JOIN attempts a
            ON a.delivery_id = d.id
        GROUP BY d.id, d.state
        HAVING (d.state = 'delivered') <> coalesce(bool_or(a.outcome = 'delivered'), false)
            OR (d.state = 'refused' AND NOT bool_or(a.outcome = 'refused'))
            OR (d.state = 'unknown' AND count(*) FILTER (WHERE a.outcome = 'unknown') < 2)
            OR d.state NOT IN ('delivered', 'refused', 'unknown', 'parked')
        """
    )
    assert not wrong
    states = [await stored.states(connection, mailing_id) for mailing_id in chaos.mailing_ids]
    assert all(sum(counts.values()) == 150 for counts in states)
    assert all(counts["delivered"] > 50 for counts in states)
