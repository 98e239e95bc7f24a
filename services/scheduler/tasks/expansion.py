"""Expand a mailing into deliveries, a page of members at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from services.scheduler.tasks.destinations import Destinations
from shared.contracts.commands import ExpandMailing
from shared.store import expansion
from shared.store.engine import Database
from shared.store.expansion import ExpandedPage
from shared.store.patience import until_available

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Expand:
    """Works through a mailing's list from where its row says that it stands; any scheduler may go on with it."""

    database: Database
    page_size: int
    #: An expansion that stood still for so long is published again.
    stalled_after_seconds: float
    #: Called after each page: there is something to release.
    on_page: Callable[[], None]
    #: Looks up which limits the domains of a page are under.
    destinations: Destinations

    async def __call__(self, command: ExpandMailing) -> None:
        """Return when every delivery is made; another scheduler at the same takes page after page in turn."""
        while True:
            page = await until_available(lambda: self._page(command.mailing_id), doing="expansion")
            if page is None:
                return
            self.on_page()
            if page.is_last:
                _log.info("mailing expanded", mailing=command.mailing_id)
                return

    async def _page(self, mailing_id: int) -> ExpandedPage | None:
        await self.destinations.resolve(mailing_id, page_size=self.page_size)
        async with self.database.raw_transaction() as connection:
            return await expansion.expand_page(
                connection,
                mailing_id,
                page_size=self.page_size,
                expand_again_after_seconds=self.stalled_after_seconds,
            )
