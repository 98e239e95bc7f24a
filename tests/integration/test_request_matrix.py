"""Every state of a request has an answer to every event; only the right ones change a membership."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from services.scheduler.tasks.subscription import BeginRequest
from shared.contracts.events import SubscriptionAsked
from shared.core.address import Address
from shared.core.links import Links
from shared.core.subscription import RequestAction, RequestSource, RequestState
from shared.core.tokens import Tokens
from shared.runtime.subscriptions import Confirmed, Subscriptions
from shared.store import subscription_requests
from shared.store.engine import Database, RawConnection
from tests.fakes.kept_publisher import KeptPublisher
from tests.integration import stored

S = RequestState
SUBSCRIPTIONS = Subscriptions(Links(Tokens(b"a secret of the tests"), None))

#: What a confirmation comes to, and the state afterwards.
CONFIRMED = {
    S.ASKED: (Confirmed.GONE, S.ASKED),
    S.CONFIRMING: (Confirmed.DONE, S.DONE),
    S.PENDING: (Confirmed.PENDING, S.PENDING),
    S.DONE: (Confirmed.DONE, S.DONE),
    S.REJECTED: (Confirmed.GONE, S.REJECTED),
    S.DROPPED: (Confirmed.GONE, S.DROPPED),
}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, name="test")
    yield database
    await database.close()


async def request_in(connection: RawConnection, state: RequestState, number: int = 1) -> int:
    """A request to join in this state, at a list of its own."""
    request = await subscription_requests.add(
        connection,
        await stored.new_list(connection, 0),
        Address.parse(f"ann{number}@example{number}.com"),
        RequestAction.JOIN,
        RequestSource.WEB,
    )
    await subscription_requests.move(connection, request.id, state)
    return request.id


async def state_of(connection: RawConnection, request_id: int) -> RequestState:
    found = await subscription_requests.look(connection, request_id)
    assert found is not None
    return found.state


async def member_count(connection: RawConnection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM members WHERE status = 'subscribed'"))


@pytest.mark.parametrize("state", S)
async def test_a_scheduler_begins_only_what_nobody_looked_at(
    connection: RawConnection, database: Database, state: RequestState
) -> None:
    request_id = await request_in(connection, state)
    begin = BeginRequest(database, KeptPublisher(), SUBSCRIPTIONS)
    for _ in range(2):
        await begin(SubscriptionAsked(request_id))
    assert await state_of(connection, request_id) is (S.CONFIRMING if state is S.ASKED else state)
    assert await connection.fetchval("SELECT count(*) FROM notices") == (state is S.ASKED)
    assert await member_count(connection) == 0


@pytest.mark.parametrize("state", S)
async def test_a_confirmation_counts_once_and_in_time(connection: RawConnection, state: RequestState) -> None:
    request_id = await request_in(connection, state)
    answer, afterwards = CONFIRMED[state]
    for _ in range(2):
        async with connection.transaction():
            confirmed, _ = await SUBSCRIPTIONS.confirm(connection, request_id)
        assert (confirmed, await state_of(connection, request_id)) == (answer, afterwards)
    assert await member_count(connection) == (state is S.CONFIRMING)
    late_id = await request_in(connection, state, 2)
    await connection.execute(
        "UPDATE subscription_requests SET expires_at = now() - interval '1 s' WHERE id = $1", late_id
    )
    async with connection.transaction():
        assert (await SUBSCRIPTIONS.confirm(connection, late_id))[0] is Confirmed.GONE
    assert await state_of(connection, late_id) is state


async def test_nothing_is_confirmed_that_does_not_exist(connection: RawConnection) -> None:
    async with connection.transaction():
        assert (await SUBSCRIPTIONS.confirm(connection, 10**9))[0] is Confirmed.GONE


@pytest.mark.parametrize(
    ("policy", "action", "confirmed", "afterwards"),
    [
        *((policy, RequestAction.JOIN, Confirmed.DONE, S.DONE) for policy in ("open", "confirm")),
        *((policy, RequestAction.JOIN, Confirmed.PENDING, S.PENDING) for policy in ("approve", "confirm_and_approve")),
        *((policy, RequestAction.JOIN, Confirmed.GONE, S.DROPPED) for policy in ("closed", "invite")),
        *itertools.product(("open", "closed"), (RequestAction.LEAVE,), (Confirmed.DONE,), (S.DONE,)),
    ],
)
async def test_a_policy_that_changed_meanwhile_holds(
    connection: RawConnection, policy: str, action: RequestAction, confirmed: Confirmed, afterwards: RequestState
) -> None:
    request_id = await request_in(connection, S.CONFIRMING)
    await connection.execute("UPDATE subscription_requests SET action = $1", action.value)
    await connection.execute("UPDATE mailing_lists SET subscription_policy = $1", policy)
    async with connection.transaction():
        assert (await SUBSCRIPTIONS.confirm(connection, request_id))[0] is confirmed
    assert await state_of(connection, request_id) is afterwards
    assert await member_count(connection) == (action is RequestAction.JOIN and afterwards is S.DONE)
