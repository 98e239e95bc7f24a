"""Keep what nobody could handle, whole."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from shared.broker.consumer import DeadPayload
from shared.core.smtp_reply import clean_text
from shared.store import parked
from shared.store.engine import Database

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Park:
    """Writes dead payloads to a table, where they outlive the broker."""

    database: Database

    async def __call__(self, dead: DeadPayload) -> None:
        async with self.database.raw() as connection:
            await parked.keep_payload(
                connection, queue=clean_text(dead.queue), because=clean_text(dead.because), body=dead.body
            )
        _log.error("payload parked", queue=dead.queue, because=dead.because)
