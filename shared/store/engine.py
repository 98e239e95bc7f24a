"""The way to PostgreSQL: one pool a process, transactions as context managers, and one error for "it is down"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import sqlalchemy.exc
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

Session = AsyncSession
RawConnection = asyncpg.Connection
Record = asyncpg.Record

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 30
POOL_WAIT_SECONDS = 5


#: What PostgreSQL says to values that it cannot take: repeating them gives the same answer.
REFUSED_VALUES = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class StoreUnavailable(Exception):
    """PostgreSQL cannot be reached, or ended the connection; whether the last commit took place is unknown."""


class StoreFull(StoreUnavailable):
    """PostgreSQL has no room on its disk; nothing of what was to be written is there."""


_DISK_FULL = "53100"
#: What a database says while it starts, stops, crashes, has no room for connections, or waits too long for a lock.
_UNAVAILABLE_CODES = ("08", "53", "57", "55P03", "40001", "40P01", "25P03", "25006")


def _unavailability(error: BaseException | None) -> type[StoreUnavailable] | None:
    """Which it is, by the error or what it came from; `None` when the fault is in what was asked."""
    while error is not None:
        # An internal error is what asyncpg says on a connection that broke in the middle of an answer.
        if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | asyncpg.PostgresConnectionError):
            return StoreUnavailable
        if isinstance(error, OSError | TimeoutError):
            return StoreUnavailable
        if isinstance(error, sqlalchemy.exc.TimeoutError | sqlalchemy.exc.InterfaceError):
            return StoreUnavailable
        if isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated:
            return StoreUnavailable
        code = str(getattr(error, "sqlstate", None) or "")
        if code.startswith(_UNAVAILABLE_CODES):
            return StoreFull if code == _DISK_FULL else StoreUnavailable
        error = getattr(error, "orig", None) or error.__cause__
    return None


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except StoreUnavailable:
        raise
    except Exception as error:
        if kind := _unavailability(error):
            raise kind(f"{type(error).__name__}: {error}") from error
        raise


def _refuse_closed(pooled: Any, _record: Any, _proxy: Any) -> None:
    """Have the pool open another connection for one that the server closed: the driver knows without asking."""
    if pooled.driver_connection.is_closed():
        raise sqlalchemy.exc.DisconnectionError


class Database:
    """A pool of connections. Nothing connects before the first transaction."""

    def __init__(self, url: str, *, name: str, pool_size: int = 8) -> None:
        """`url` is `postgresql://user:password@host:port/database`; `name` is what PostgreSQL shows as the client."""
        self._engine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SECONDS,
            connect_args={
                "timeout": CONNECT_TIMEOUT_SECONDS,
                "command_timeout": STATEMENT_TIMEOUT_SECONDS,
                "server_settings": {
                    "application_name": f"listfleet {name}"[:63],
                    "timezone": "UTC",
                    # Every statement has its index. Plans made while a table is new and small would scan it for as
                    # long as they are cached, which is until the next ANALYZE: claims took 4.6 ms instead of 0.9.
                    "enable_seqscan": "off",
                    # Compiling a statement takes longer than any of ours takes to run.
                    "jit": "off",
                    # A process that is frozen in the middle of a transaction must not keep its locks from a takeover.
                    "idle_in_transaction_session_timeout": "5s",
                },
            },
        )

        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits at the end of the block; `StoreUnavailable` when the database is down."""
        async with _translated(), AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """A transaction for reading whose statements all see the same moment."""
        async with self.transaction() as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[RawConnection]:
        """The driver's own connection, outside any transaction: for COPY, arrays, and the hot statements."""
        async with _translated(), self._engine.connect() as connection:
            pooled = await connection.get_raw_connection()
            try:
                yield cast("RawConnection", pooled.driver_connection)
            except (Exception, asyncio.CancelledError) as error:
                # One that was cut off may hang, or be in a transaction still: the next user gets a new one.
                if isinstance(error, asyncio.CancelledError) or _unavailability(error):
                    await connection.invalidate(error)
                raise

    @asynccontextmanager
    async def raw_transaction(self) -> AsyncIterator[RawConnection]:
        """A transaction on the driver's own connection."""
        async with self.raw() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


async def fetch_one(connection: RawConnection, statement: str, *values: object) -> asyncpg.Record:
    """The one row of a statement that always gives one."""
    row = await connection.fetchrow(statement, *values)
    if row is None:
        raise LookupError(f"no row from: {statement}")
    return row
