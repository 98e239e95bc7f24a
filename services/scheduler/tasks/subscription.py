"""What web forms asked for: begin a request that nobody looked at, let a member leave."""

from __future__ import annotations

from dataclasses import dataclass

from shared.broker.publisher import Publisher
from shared.contracts.events import LeaveAsked, SubscriptionAsked
from shared.core.subscription import RequestState
from shared.runtime.consequences import follow
from shared.runtime.subscriptions import Subscriptions
from shared.store import subscription_requests
from shared.store.engine import Database


@dataclass(frozen=True, slots=True)
class BeginRequest:
    """Does with a request what comes first, away from the form: its answer tells nothing of the address."""

    database: Database
    publisher: Publisher
    subscriptions: Subscriptions

    async def __call__(self, event: SubscriptionAsked) -> None:
        """A request that somebody looked at is left alone."""
        async with self.database.raw_transaction() as connection:
            request = await subscription_requests.take(connection, event.request_id)
            if request is None or request.state is not RequestState.ASKED:
                return
            consequences = await self.subscriptions.begin(connection, request)
        await follow(self.database, self.publisher, consequences)


@dataclass(frozen=True, slots=True)
class Leave:
    """Lets a member leave who used the link while the database was down."""

    database: Database
    publisher: Publisher
    subscriptions: Subscriptions

    async def __call__(self, event: LeaveAsked) -> None:
        async with self.database.raw_transaction() as connection:
            consequences = await self.subscriptions.leave(connection, event.member_id)
        await follow(self.database, self.publisher, consequences)
