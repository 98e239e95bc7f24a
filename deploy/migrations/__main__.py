"""`python -m deploy.migrations`: bring the database to the newest schema, waiting for it to come up; a new one gets the
tasks that a cluster begins with."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.migrations.first_tasks import make_first_tasks
from shared.runtime.settings import DatabaseSettings, load

WAIT_SECONDS = 60.0


def _upgrade(connection: Connection, with_first_tasks: bool) -> None:
    # Two migration steps at once wait for one another.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('listfleet migrations'))"))
    is_new = not inspect(connection).has_table("alembic_version")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if is_new and with_first_tasks:
        make_first_tasks(connection)


async def migrate(database_url: str, *, with_first_tasks: bool = False) -> None:
    """Upgrade to the head; raises what the driver raises when the database stays away for a minute.

    `with_first_tasks`: a database that is new gets them; one that was there keeps those that it has.
    """
    engine = create_async_engine(make_url(database_url).set(drivername="postgresql+asyncpg"))
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while True:
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(_upgrade, with_first_tasks)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)
            else:
                return
    finally:
        await engine.dispose()


def main() -> None:
    asyncio.run(migrate(load(DatabaseSettings).database_url, with_first_tasks=True))
    sys.stderr.write("database is at the newest schema\n")


if __name__ == "__main__":
    main()
