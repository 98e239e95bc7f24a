"""The store as ingress uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.ingress_smtp.groups import Grouped
from shared.store import arrivals, lists, messages, posts
from shared.store.arrivals import KnownAuthor, KnownList
from shared.store.engine import Database, StoreUnavailable
from shared.store.messages import NewMessage
from shared.store.posts import PostsToday

_WATCH_SECONDS = 2.0
_WATCH_TIMEOUT_SECONDS = 5.0

#: How long a group of look-ups, and one of messages, may take: as long as one of either.
_LOOKUP_SECONDS = 10.0
_STORE_SECONDS = 20.0
_MOST_LOOKUPS = 100
#: Messages up to this size are stored together, some megabytes at most; a larger one would keep others waiting.
_MOST_MESSAGES = 50
_SMALL_BYTES = 64 * 1024


class Shelf:
    """Looks up lists and members, and keeps messages; nothing is cached, so a new list takes mail at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lists = Grouped(self._find_lists, most=_MOST_LOOKUPS, timeout_seconds=_LOOKUP_SECONDS)
        self._authors = Grouped(self._known_authors, most=_MOST_LOOKUPS, timeout_seconds=_LOOKUP_SECONDS)
        self._small = Grouped(self._store, most=_MOST_MESSAGES, timeout_seconds=_STORE_SECONDS)
        #: Whether the database answered when it was last asked.
        self.is_there = False

    async def find_list(self, name: str, domain: str) -> KnownList | None:
        return await self._lists.ask((name, domain))

    async def is_our_domain(self, domain: str) -> bool:
        async with self._database.raw() as connection:
            return await lists.is_our_domain(connection, domain)

    async def known_authors(self, list_id: int, email_keys: Sequence[str]) -> Sequence[KnownAuthor]:
        return await self._authors.ask((list_id, email_keys))

    async def posts_today(self, list_id: int, author_key: str) -> PostsToday:
        async with self._database.raw() as connection:
            return await posts.posts_today(connection, list_id, author_key)

    async def store(self, message: NewMessage) -> None:
        if len(message.content) <= _SMALL_BYTES:
            await self._small.ask(message)
        else:
            await self._store([message])

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

    async def _find_lists(self, addresses: Sequence[tuple[str, str]]) -> Sequence[KnownList | None]:
        async with self._database.raw() as connection:
            found = await arrivals.find_lists(connection, set(addresses))
        return [found.get(address) for address in addresses]

    async def _known_authors(self, asked: Sequence[tuple[int, Sequence[str]]]) -> Sequence[Sequence[KnownAuthor]]:
        async with self._database.raw() as connection:
            return await arrivals.known_authors(connection, asked)

    async def _store(self, new: Sequence[NewMessage]) -> Sequence[None]:
        async with self._database.raw() as connection:
            await messages.store(connection, *new)
        return [None] * len(new)
