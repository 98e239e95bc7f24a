"""What destinations answered this node, counted in memory and told now and then in one statement."""

from __future__ import annotations

import asyncio

import structlog

from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import clean_text
from shared.store import slowdowns
from shared.store.claims import ClaimedBatch
from shared.store.engine import Database, StoreUnavailable
from shared.store.slowdowns import NodeTally

_log = structlog.get_logger(__name__)

TELL_SECONDS = 2.0


class Answers:
    """Counts acceptances and refusals for volume, of each limit and of each domain that is under none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._accepted: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._because: dict[str, str] = {}
        #: Those under a limit: their acceptances are told too, so that they are sped up again.
        self._limited: set[str] = set()

    def count(self, batch: ClaimedBatch, domain: str, outcome: Outcome) -> None:
        """One transaction ended so."""
        destination = batch.domain_limit or domain
        if outcome.kind is OutcomeKind.DELIVERED:
            self._accepted[destination] = self._accepted.get(destination, 0) + 1
        elif outcome.reply is not None and outcome.reply.is_about_volume:
            self._refused[destination] = self._refused.get(destination, 0) + 1
            self._because[destination] = clean_text(str(outcome.reply))
        if batch.domain_limit:
            self._limited.add(destination)

    def take(self) -> list[NodeTally]:
        """What is to be told of the time since the last call."""
        told = [
            NodeTally(
                destination,
                self._accepted.get(destination, 0),
                self._refused.get(destination, 0),
                self._because.get(destination, ""),
            )
            for destination in sorted(self._limited | set(self._refused))
        ]
        self._accepted, self._refused, self._because, self._limited = {}, {}, {}, set()
        return told

    async def run(self) -> None:
        """Tell until cancelled; what cannot be told is forgotten."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            if tallies := self.take():
                try:
                    async with self._database.raw() as connection:
                        await slowdowns.tell(connection, tallies)
                except StoreUnavailable as error:
                    _log.warning("answers not told", error=str(error))
