"""The sweep: what was committed and not published, and what was published and never taken, is published (again)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.scheduler.release import Releaser
from services.scheduler.sweep import Sweep
from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.base import Payload
from shared.contracts.commands import ExpandMailing, MakeDigest, SendBatch
from shared.contracts.events import MailReceived, SubscriptionAsked
from shared.core.address import Address
from shared.core.mailing import TargetKind
from shared.core.subscription import RequestAction, RequestSource, RequestState
from shared.store import messages, subscription_requests
from shared.store.engine import Database, RawConnection
from shared.store.messages import NewTarget
from tests.integration import stored


class FakeBroker(Publisher):
    """Queues that a test empties; fails while it is told to."""

    def __init__(self) -> None:
        super().__init__("amqp://nowhere.invalid/", name="fake")
        self.is_down = False
        self.queues: dict[str, list[Payload]] = {}

    async def publish(self, queue: str, payload: Payload) -> None:
        if self.is_down:
            raise BrokerUnavailable("down")
        self.queues.setdefault(queue, []).append(payload)

    async def queue_length(self, queue: str) -> int:
        if self.is_down:
            raise BrokerUnavailable("down")
        return len(self.queues.get(queue, []))


@pytest.fixture
async def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def sweep(database_url: str, broker: FakeBroker) -> AsyncIterator[Sweep]:
    database = Database(database_url, name="test")
    releaser = Releaser(database, broker, publish_within_seconds=5, republish_after_seconds=30)
    yield Sweep(database, broker, releaser, republish_after_seconds=30, forget_nodes_after_seconds=86_400)
    await database.close()


async def three_batches(connection: RawConnection) -> list[int]:
    """Released, and due to be published."""
    ids = await stored.release_all(connection, await stored.new_mailing(connection, 30), batch_size=10)
    await make_due(connection)
    return ids


async def make_due(connection: RawConnection) -> None:
    await connection.execute("UPDATE batches SET publish_due_at = now() - interval '1 s' WHERE state = 'released'")


async def test_batches_that_were_never_published_are(
    connection: RawConnection, sweep: Sweep, broker: FakeBroker
) -> None:
    ids = await three_batches(connection)
    for _ in range(3):
        await sweep._publish_batches()
    assert broker.queues == {"send.posts": [SendBatch(batch_id) for batch_id in ids]}


async def test_batches_that_wait_in_the_queue_are_not_published_again(
    connection: RawConnection, sweep: Sweep, broker: FakeBroker
) -> None:
    await three_batches(connection)
    await sweep._publish_batches()
    await make_due(connection)
    await sweep._publish_batches()
    assert len(broker.queues["send.posts"]) == 3


async def test_when_the_queue_lost_some_all_that_are_due_are_published_again(
    connection: RawConnection, sweep: Sweep, broker: FakeBroker
) -> None:
    ids = await three_batches(connection)
    await sweep._publish_batches()
    broker.queues["send.posts"].pop()
    await make_due(connection)
    await sweep._publish_batches()
    published = broker.queues["send.posts"][2:]
    assert sorted(payload.batch_id for payload in published if isinstance(payload, SendBatch)) == ids


async def test_while_the_broker_is_down_everything_stays_due(
    connection: RawConnection, sweep: Sweep, broker: FakeBroker
) -> None:
    ids = await three_batches(connection)
    broker.is_down = True
    with pytest.raises(BrokerUnavailable):
        await sweep._publish_batches()
    broker.is_down = False
    await sweep._publish_batches()
    assert broker.queues["send.posts"] == [SendBatch(batch_id) for batch_id in ids]


async def test_messages_and_expansions_that_stand_still_are_published(
    connection: RawConnection, sweep: Sweep, broker: FakeBroker
) -> None:
    mailing_id = await stored.new_mailing(connection, 3, expand=False)
    await connection.execute("UPDATE mailings SET expand_due_at = now() - interval '1 s'")
    await connection.execute("UPDATE messages SET publish_due_at = NULL")
    message = stored.new_message(NewTarget("postmaster@lists.example.org", TargetKind.OPERATOR))
    await messages.store(connection, message, sweep_after_seconds=0)
    for _ in range(2):
        await sweep._publish_messages()
        await sweep._publish_expansions()
    assert broker.queues == {"tasks": [MailReceived(str(message.id)), ExpandMailing(mailing_id)]}


async def test_requests_that_nobody_looked_at_are_published_until_somebody_does(
    connection: RawConnection, sweep: Sweep, broker: FakeBroker
) -> None:
    list_id = await stored.new_list(connection, 0)
    ann = Address.parse("ann@example.com")
    request = await subscription_requests.add(
        connection, list_id, ann, RequestAction.JOIN, RequestSource.WEB, publish_after_seconds=0
    )
    for _ in range(2):
        await sweep._publish_requests()
    assert broker.queues == {"tasks.express": [SubscriptionAsked(request.id)]}
    await connection.execute("UPDATE subscription_requests SET publish_due_at = now() - interval '1 s'")
    await subscription_requests.move(connection, request.id, RequestState.CONFIRMING)
    await sweep._publish_requests()
    assert len(broker.queues["tasks.express"]) == 1
    await connection.execute("UPDATE subscription_requests SET expires_at = now() - interval '31 days'")
    await sweep._forget()
    assert await subscription_requests.look(connection, request.id) is None


async def test_a_mailing_in_which_nothing_is_outstanding_is_finished(connection: RawConnection, sweep: Sweep) -> None:
    mailing_id = await stored.new_mailing(connection, 0)
    await sweep._finish_mailings()
    assert await connection.fetchval("SELECT state FROM mailings WHERE id = $1", mailing_id) == "finished"


async def test_digests_that_are_closed_are_published_and_those_turned_off_are_closed(
    connection: RawConnection, sweep: Sweep, broker: FakeBroker
) -> None:
    on, off = [await stored.new_list(connection, 0) for _ in range(2)]
    await connection.execute("UPDATE mailing_lists SET digests_enabled = true WHERE id = $1", on)
    for list_id in (on, off):
        await connection.execute(
            "INSERT INTO digests (list_id, state, posts, size_bytes) VALUES ($1, 'collecting', 1, 9)", list_id
        )
    for _ in range(2):
        await sweep._close_digests()
        await sweep._publish_digests()
    [closed_id] = [row["id"] for row in await connection.fetch("SELECT id FROM digests WHERE state = 'closed'")]
    assert await connection.fetchval("SELECT list_id FROM digests WHERE id = $1", closed_id) == off
    assert broker.queues == {"tasks.scheduled": [MakeDigest(closed_id)]}
