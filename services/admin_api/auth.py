"""Who may use the API: whoever has a bearer token (RFC 6750) that is known."""

from __future__ import annotations

import asyncio

import structlog
from fastapi import Request

from services.admin_api.problems import Problem
from shared.store import tokens
from shared.store.engine import Database, StoreUnavailable

FIRST_TOKEN_NAME = "LISTFLEET_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
_CHALLENGE = 'Bearer realm="Listfleet"'

_log = structlog.get_logger(__name__)


async def authenticate(request: Request, database: Database) -> None:
    """Return when the request carries a known token; a `Problem` otherwise."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(401, "This needs a token: Authorization: Bearer …", headers={"WWW-Authenticate": _CHALLENGE})
    async with database.transaction() as session:
        if await tokens.is_known(session, token.strip()):
            return
    raise Problem(401, "The token is not known.", headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'})


class FirstToken:
    """Lets the token of the settings in, in the place of the one they named before; and watches the database."""

    WATCH_SECONDS = 2.0

    def __init__(self, database: Database, token: str | None) -> None:
        self._database = database
        self._token = token
        self._is_stored = token is None
        #: Whether the database answered when it was last asked.
        self.is_database_there = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self.WATCH_SECONDS)
            await self.turn()

    async def turn(self) -> None:
        """One look; before the first request comes in, so that the token of the settings is known to it."""
        try:
            async with asyncio.timeout(self.WATCH_SECONDS * 2):
                await self.look()
            self.is_database_there = True
        except (StoreUnavailable, TimeoutError) as error:
            self.is_database_there = False
            _log.warning("database is down", error=repr(error))

    async def look(self) -> None:
        """Store the token unless that is done, or else ask the database something; `StoreUnavailable` without it."""
        async with self._database.transaction() as session:
            if self._token is None or self._is_stored:
                await tokens.is_known(session, "")
                return
            await tokens.ensure(session, self._token, name=FIRST_TOKEN_NAME)
            await tokens.retire_others(session, self._token, name=FIRST_TOKEN_NAME)
        self._is_stored = True
        _log.info("the first token is stored")
