"""The API in this process, on a real database, with every announcement kept."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

import httpx
from fastapi import FastAPI

from services.admin_api.app import BASE, application
from services.admin_api.auth import FIRST_TOKEN_NAME
from services.admin_api.routes.dkim_keys import KeyRoom
from services.admin_api.routes.dns import CheckDns
from shared.contracts.base import Payload
from shared.core.dns.finding import Finding
from shared.core.dns.record import PlannedRecord
from shared.core.links import Links
from shared.core.tokens import Tokens
from shared.core.tracking import TrackedLinks
from shared.dns.dmarc import Records
from shared.runtime.consequences import follow
from shared.runtime.preflight import Preflight
from shared.runtime.specimens import Specimens
from shared.runtime.subscriptions import Subscriptions
from shared.store import tokens
from shared.store.engine import Database
from tests.fakes.dns import FakeResolver
from tests.fakes.kept_publisher import KeptPublisher


async def _no_records(_name: str) -> tuple[str, ...]:
    return ()


async def nothing_checked(_planned: Sequence[PlannedRecord]) -> Sequence[Finding]:
    return ()


KEY_ROOM = KeyRoom(b"sixteen octets or more", _no_records)
LINKS = Links(Tokens(b"sixteen octets or more"), "https://lists.example.org")
TRACKED_LINKS = TrackedLinks(b"sixteen octets or more", (), "https://lists.example.org")
SUBSCRIPTIONS = Subscriptions(LINKS)
TOKEN = "a-token-of-the-tests"

_numbers = itertools.count(1)
#: Applications that no client has now: their first request, for which the routes are put together, takes a quarter of
#: a second.
_idle: list[FastAPI] = []


class AdminClient(httpx.AsyncClient):
    """Speaks to the API with a token; paths are relative to `/api/v1`."""

    database: Database
    announced: list[Payload]
    published: list[tuple[str, Payload]]

    async def new_list(self, policy: str = "members") -> str:
        """The address of a list of its own."""
        new = {"name": f"list{next(_numbers)}", "domain": "example.org", "posting_policy": policy}
        made = await self.post("/lists", json=new)
        assert made.status_code == 201, made.text
        return str(made.json()["address"])

    async def import_csv(self, address: str, text: str | bytes) -> httpx.Response:
        return await self.post(f"/lists/{address}/members/import", content=text, headers={"Content-Type": "text/csv"})

    async def import_ndjson(self, address: str, text: str | bytes) -> httpx.Response:
        headers = {"Content-Type": "application/x-ndjson"}
        return await self.post(f"/lists/{address}/members/import", content=text, headers=headers)

    async def export(self, address: str, file_format: str = "csv") -> str:
        answer = await self.get(f"/lists/{address}/members/export", params={"format": file_format})
        assert answer.status_code == 200, answer.text
        return answer.content.decode()


@asynccontextmanager
async def admin_client(
    database_url: str,
    key_room: KeyRoom = KEY_ROOM,
    check_dns: CheckDns = nothing_checked,
    sync_places: Collection[str] = (),
    resolver: Records | None = None,
    links: Links = LINKS,
) -> AsyncIterator[AdminClient]:
    """A client of an API on this database."""
    database = Database(database_url, name="test admin")
    announced: list[Payload] = []

    async def announce(event: Payload) -> None:
        announced.append(event)

    published: list[tuple[str, Payload]] = []

    async def publish(queue: str, payload: Payload) -> bool:
        published.append((queue, payload))
        return True

    following = partial(follow, database, KeptPublisher())
    fresh = application(
        database,
        announce,
        publish,
        key_room,
        check_dns,
        SUBSCRIPTIONS,
        following,
        Preflight(database, resolver or FakeResolver({}), has_pages=links.public_url is not None),
        Specimens(links, TRACKED_LINKS if links.public_url else None),
        sync_places=sync_places,
    )
    api = _idle.pop() if _idle else fresh
    api.state = fresh.state
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        async with AdminClient(transport=transport, base_url=f"http://api{BASE}", headers=headers) as client:
            client.database, client.announced, client.published = database, announced, published
            yield client
    finally:
        _idle.append(api)
        await database.close()


async def let_in(client: AdminClient) -> None:
    """Store the token that the client has."""
    async with client.database.transaction() as session:
        await tokens.ensure(session, TOKEN, name=FIRST_TOKEN_NAME)
