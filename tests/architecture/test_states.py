"""Every state × event pair has an answer: of batches, of deliveries, and of mailings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from shared.core.delivery import DeliveryState
from shared.core.mailing import MailingState
from shared.core.node import BatchState
from shared.store import batches, counts, endings, expansion, mailings, release, rounds, stops
from shared.store.claims import ClaimedBatch
from shared.store.engine import RawConnection
from tests.integration import stored
from tests.integration.stored import DEFERRED, DELIVERED, REFUSED, UNKNOWN


class Scene:
    """One delivery in one batch: who held it first, and what happens to it."""

    def __init__(self, connection: RawConnection) -> None:
        self.connection = connection
        self.batch: ClaimedBatch

    async def claimed(self) -> None:
        self.lease = await stored.new_lease(self.connection)
        self.batch = await stored.claimed_mailing(self.connection, 1, self.lease)

    async def released(self) -> None:
        await self.claimed()
        await self.connection.execute(
            "UPDATE batches SET state = 'released', holder = NULL, claim = NULL, node_name = NULL"
        )

    async def closed(self) -> None:
        await self.claimed()
        await stored.record_all(self.connection, self.batch, DELIVERED)

    async def revoked(self) -> None:
        await self.claimed()
        await stored.lose(self.connection, self.lease)

    async def end_as(self, state: DeliveryState) -> None:
        """The delivery, in no batch, ends so."""
        await self.connection.execute("DELETE FROM outstanding")
        await self.connection.execute("UPDATE deliveries SET state = $1, ended_at = now()", state.value)
        await counts.change(self.connection, Counter({(self.batch.mailing_id, state.value): 1}))

    # Events

    async def claim_by_another(self) -> None:
        await stored.claim(self.connection, self.batch.id, await stored.new_lease(self.connection))

    async def claim_repeated(self) -> None:
        await stored.claim(self.connection, self.batch.id, self.lease, token=self.batch.claim)

    async def delivered(self) -> None:
        await stored.record_all(self.connection, self.batch, DELIVERED)

    async def refused(self) -> None:
        await stored.record_all(self.connection, self.batch, REFUSED)

    async def deferred(self) -> None:
        await stored.record_all(self.connection, self.batch, DEFERRED)

    async def unknown(self) -> None:
        await stored.record_all(self.connection, self.batch, UNKNOWN)

    async def expired(self) -> None:
        await endings.end_waiting(self.connection, self.batch.mailing_id, DeliveryState.EXPIRED)

    async def hand_back(self) -> None:
        await batches.hand_back_whole(self.connection, self.batch.id, self.batch.claim)

    async def unstarted_reported(self) -> None:
        await batches.report_unstarted(self.connection, {self.batch.id: (self.batch.claim, 0)})

    async def takeover(self) -> None:
        await self.connection.execute("UPDATE nodes SET state = 'left'")
        await batches.take_over_orphans(self.connection)

    async def mailing_stopped(self) -> None:
        await endings.revoke_released(self.connection, [self.batch.mailing_id])

    async def delivery_cancelled(self) -> None:
        await rounds.cancel(self.connection, [self.batch.recipients[0].delivery_id])
        await endings.end_cancelled(self.connection)

    async def sent_again(self) -> None:
        async with self.connection.transaction():
            if await rounds.open_mailing(self.connection, self.batch.mailing_id):
                ids = [self.batch.recipients[0].delivery_id]
                await rounds.send_again(self.connection, ids, list(DeliveryState))

    async def published(self) -> None:
        await release.mark_published(self.connection, [self.batch.id], again_after_seconds=30)


#: What each event makes of a batch in each state.
BATCHES: dict[BatchState, dict[str, BatchState]] = {
    BatchState.RELEASED: {
        "claim_by_another": BatchState.CLAIMED,
        "claim_repeated": BatchState.CLAIMED,
        # An earlier holder, as far as the rows know: *delivered* empties the batch, all else is history.
        "delivered": BatchState.REVOKED,
        "refused": BatchState.RELEASED,
        "deferred": BatchState.RELEASED,
        "unknown": BatchState.RELEASED,
        # Only what is in no batch ends at once.
        "expired": BatchState.RELEASED,
        "mailing_stopped": BatchState.REVOKED,
        "delivery_cancelled": BatchState.RELEASED,
        "sent_again": BatchState.RELEASED,
        "hand_back": BatchState.RELEASED,
        "unstarted_reported": BatchState.RELEASED,
        "takeover": BatchState.RELEASED,
        "published": BatchState.RELEASED,
    },
    BatchState.CLAIMED: {
        "claim_by_another": BatchState.CLAIMED,
        "claim_repeated": BatchState.CLAIMED,
        "delivered": BatchState.CLOSED,
        "refused": BatchState.CLOSED,
        "deferred": BatchState.CLOSED,
        "unknown": BatchState.CLOSED,
        "expired": BatchState.CLAIMED,
        "mailing_stopped": BatchState.CLAIMED,
        "delivery_cancelled": BatchState.CLAIMED,
        "sent_again": BatchState.CLAIMED,
        "hand_back": BatchState.CLOSED,
        "unstarted_reported": BatchState.CLAIMED,
        "takeover": BatchState.REVOKED,
        "published": BatchState.CLAIMED,
    },
}
EVENTS = tuple(BATCHES[BatchState.CLAIMED])
# *Closed* and *revoked* are final: a batch id is never used twice.
for final in (BatchState.CLOSED, BatchState.REVOKED):
    BATCHES[final] = dict.fromkeys(EVENTS, final)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", BatchState)
async def test_a_batch_in_every_state_has_an_answer_to_every_event(
    connection: RawConnection, state: BatchState, event: str
) -> None:
    scene = Scene(connection)
    await getattr(scene, state.value)()
    assert (await stored.batch_row(connection, scene.batch.id)).state == state
    happen: Callable[[], Awaitable[None]] = getattr(scene, event)
    await happen()
    assert (await stored.batch_row(connection, scene.batch.id)).state == BATCHES[state][event]
    await happen()
    await stored.assert_consistent(connection)


#: What a report by an earlier holder makes of a delivery in each state: *delivered* wins, all else is history.
LATE_REPORTS = ("delivered", "refused", "deferred", "unknown")


@pytest.mark.parametrize("event", LATE_REPORTS)
@pytest.mark.parametrize("state", DeliveryState)
async def test_a_delivery_in_every_state_has_an_answer_to_every_late_report(
    connection: RawConnection, state: DeliveryState, event: str
) -> None:
    scene = Scene(connection)
    await scene.revoked()
    if state is not DeliveryState.OPEN:
        await scene.end_as(state)
    await getattr(scene, event)()
    expected = DeliveryState.DELIVERED if event == "delivered" else state
    assert await stored.states(connection, scene.batch.mailing_id) == {expected: 1}
    assert await connection.fetchval("SELECT count(*) FROM attempts") == 1


#: What a report by the present holder makes of an open delivery.
IN_TIME = {
    "delivered": DeliveryState.DELIVERED,
    "refused": DeliveryState.REFUSED,
    "deferred": DeliveryState.OPEN,
    "unknown": DeliveryState.OPEN,
}


@pytest.mark.parametrize("event", LATE_REPORTS)
async def test_an_open_delivery_has_an_answer_to_every_report(connection: RawConnection, event: str) -> None:
    scene = Scene(connection)
    await scene.claimed()
    await getattr(scene, event)()
    assert await stored.states(connection, scene.batch.mailing_id) == {IN_TIME[event]: 1}


#: What happens to a delivery that is in no batch. One that has ended is only ever sent again.
IN_NO_BATCH = {
    "expired": DeliveryState.EXPIRED,
    "delivery_cancelled": DeliveryState.CANCELLED,
    "sent_again": DeliveryState.OPEN,
}


@pytest.mark.parametrize("event", IN_NO_BATCH)
@pytest.mark.parametrize("state", DeliveryState)
async def test_a_delivery_in_every_state_has_an_answer_to_what_a_person_does(
    connection: RawConnection, state: DeliveryState, event: str
) -> None:
    scene = Scene(connection)
    await scene.revoked()
    if state is not DeliveryState.OPEN:
        await scene.end_as(state)
    await getattr(scene, event)()
    is_changed = state is DeliveryState.OPEN or event == "sent_again"
    expected = IN_NO_BATCH[event] if is_changed else state
    assert await stored.states(connection, scene.batch.mailing_id) == {expected: 1}
    await getattr(scene, event)()
    assert await stored.states(connection, scene.batch.mailing_id) == {expected: 1}


async def _mailing_in(connection: RawConnection, state: MailingState) -> int:
    mailing_id = await stored.new_mailing(connection, 0, expand=state is not MailingState.EXPANDING)
    if state is MailingState.FINISHED:
        assert await mailings.finish(connection) == [mailing_id]
    return mailing_id


@pytest.mark.parametrize("state", MailingState)
async def test_a_mailing_in_every_state_has_an_answer_to_being_stopped(
    connection: RawConnection, state: MailingState
) -> None:
    is_open = state is not MailingState.FINISHED
    mailing_id = await _mailing_in(connection, state)
    await stops.pause(connection, mailing_id)
    assert (mailing_id in await stops.stopped_mailings(connection)) == is_open
    await stops.resume(connection, mailing_id)
    assert await stops.stopped_mailings(connection) == []
    await stops.cancel(connection, mailing_id)
    assert await stops.mailings_to_end(connection) == ([(mailing_id, DeliveryState.CANCELLED)] if is_open else [])
    assert await rounds.open_mailing(connection, mailing_id) == (not is_open), "not while it is being cancelled"
    assert await mailings.finish(connection) == [mailing_id], "sent again, it was open once more"
    assert await rounds.open_mailing(connection, mailing_id)
    assert await stops.stopped_mailings(connection) == []


@pytest.mark.parametrize("state", MailingState)
async def test_a_mailing_in_every_state_has_an_answer_to_expansion_release_and_finishing(
    connection: RawConnection, state: MailingState
) -> None:
    mailing_id = await stored.new_mailing(connection, 0, expand=state is not MailingState.EXPANDING)
    if state is MailingState.FINISHED:
        assert await mailings.finish(connection) == [mailing_id]
    async with connection.transaction():
        page = await expansion.expand_page(connection, mailing_id, page_size=5, expand_again_after_seconds=30)
    assert (page is not None) == (state is MailingState.EXPANDING)
    assert await stored.release_all(connection, mailing_id) == []
    assert await mailings.finish(connection) == ([] if state is MailingState.FINISHED else [mailing_id])
