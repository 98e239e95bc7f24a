"""Every state × event pair has an answer: of batches, of deliveries, and of mailings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from shared.core.delivery import DeliveryState
from shared.core.mailing import MailingState
from shared.core.node import BatchState
from shared.store import batches, expansion, mailings, release
from shared.store.batches import ClaimedBatch
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
        recipient = self.batch.recipients[0]
        report = stored.report(self.batch, recipient, DEFERRED)
        await stored.record(self.connection, [report], {self.batch.id: 0}, give_up_after_seconds=0)

    async def hand_back(self) -> None:
        await batches.hand_back_whole(self.connection, self.batch.id, self.batch.claim)

    async def unstarted_reported(self) -> None:
        await batches.report_unstarted(self.connection, {self.batch.id: (self.batch.claim, 0)})

    async def takeover(self) -> None:
        await self.connection.execute("UPDATE nodes SET state = 'left'")
        await batches.take_over_orphans(self.connection)

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
        "expired": BatchState.RELEASED,
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
        "expired": BatchState.CLOSED,
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
LATE_REPORTS = ("delivered", "refused", "deferred", "unknown", "expired")


@pytest.mark.parametrize("event", LATE_REPORTS)
@pytest.mark.parametrize("state", DeliveryState)
async def test_a_delivery_in_every_state_has_an_answer_to_every_late_report(
    connection: RawConnection, state: DeliveryState, event: str
) -> None:
    scene = Scene(connection)
    await scene.revoked()
    if state is not DeliveryState.OPEN:
        await connection.execute("DELETE FROM outstanding")
        await connection.execute("UPDATE deliveries SET state = $1, ended_at = now()", state.value)
    if state is DeliveryState.DELIVERED:
        await connection.execute("UPDATE batches SET delivered = 1")
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
    "expired": DeliveryState.EXPIRED,
}


@pytest.mark.parametrize("event", LATE_REPORTS)
async def test_an_open_delivery_has_an_answer_to_every_report(connection: RawConnection, event: str) -> None:
    scene = Scene(connection)
    await scene.claimed()
    await getattr(scene, event)()
    assert await stored.states(connection, scene.batch.mailing_id) == {IN_TIME[event]: 1}


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
