"""The store as ingress uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shared.store import arrivals, lists, messages, posts
from shared.store.arrivals import KnownAuthor, KnownList
from shared.store.engine import Database, StoreUnavailable
from shared.store.messages import NewMessage
from shared.store.posts import PostsToday

_WATCH_SECONDS = 2.0
_WATCH_TIMEOUT_SECONDS = 5.0


class Shelf:
    """Looks up lists and members, and keeps messages; nothing is cached, so a new list takes mail at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: Whether the database answered when it was last asked.
        self.is_there = False

    async def find_list(self, name: str, domain: str) -> KnownList | None:
        async with self._database.raw() as connection:
            return await arrivals.find_list(connection, name, domain)

    async def is_our_domain(self, domain: str) -> bool:
        async with self._database.raw() as connection:
            return await lists.is_our_domain(connection, domain)

    async def known_authors(self, list_id: int, email_keys: Sequence[str]) -> Sequence[KnownAuthor]:
        async with self._database.raw() as connection:
            return await arrivals.known_authors(connection, list_id, email_keys)

    async def posts_today(self, list_id: int, author_key: str) -> PostsToday:
        async with self._database.raw() as connection:
            return await posts.posts_today(connection, list_id, author_key)

    async def store(self, message: NewMessage) -> None:
        async with self._database.raw() as connection:
            await messages.store(connection, message)

    async def watch(self) -> None:
        """Keep `is_there` true to the facts, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_WATCH_TIMEOUT_SECONDS), self._database.raw() as connection:
                    await connection.execute("SELECT 1")
                self.is_there = True
            except (StoreUnavailable, TimeoutError):
                self.is_there = False
            await asyncio.sleep(_WATCH_SECONDS)
