"""Scoring: what was refused in our sessions, or came back, counts for its member once; who has too much is held."""

from __future__ import annotations

import asyncio

import structlog

from shared.broker.publisher import Publisher
from shared.mail.notice_kinds import NoticeKind
from shared.runtime import notices
from shared.runtime.consequences import Consequences, follow
from shared.runtime.notices import Notice
from shared.runtime.subscriptions import Subscriptions
from shared.store import bounce_scores, members
from shared.store.engine import Database, RawConnection, StoreUnavailable
from shared.store.members import Membership

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class Scoring:
    """Any number of schedulers score; each takes what nobody else has taken, and writes to whom it concerns."""

    def __init__(self, database: Database, publisher: Publisher, subscriptions: Subscriptions) -> None:
        self._database = database
        self._publisher = publisher
        self._subscriptions = subscriptions

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            try:
                while await self.step():
                    pass
            except (StoreUnavailable, TimeoutError) as error:
                _log.warning("bounces not scored yet", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def step(self) -> int:
        """Score some; how many it were."""
        consequences = Consequences()
        async with self._database.raw_transaction() as connection:
            scored = await bounce_scores.score(connection)
            for member_id, because in scored.held.items():
                member = await members.membership_of(connection, member_id)
                if member is not None:
                    consequences += await self._subscriptions.invite_back(
                        connection, member.list_id, member.address, because
                    )
            for member_id in scored.to_probe:
                member = await members.membership_of(connection, member_id)
                if member is not None:
                    consequences += await _probe(connection, member)
        await follow(self._database, self._publisher, consequences)
        return scored.events


async def _probe(connection: RawConnection, member: Membership) -> Consequences:
    """A mail of its own shows whether mail arrives; what bounces of it counts at once."""
    at = await connection.fetchval("SELECT bounced_at FROM members WHERE id = $1", member.id)
    cause = f"probe:{member.id}:{at.isoformat()}"
    batches = await notices.send(connection, Notice(NoticeKind.PROBE, cause, member.list_id, member.address))
    await bounce_scores.probe_is(connection, member.id, cause)
    return Consequences(tuple(batches))
