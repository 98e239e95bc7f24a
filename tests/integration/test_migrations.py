"""The migrations make the schema that the models declare."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import TEXT, Connection, Enum, String, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.types import TypeEngine
from sqlmodel import AutoString, SQLModel

import deploy.migrations.tables  # noqa: F401 - fills the metadata
from deploy.local.postgres import Postgres
from deploy.migrations.__main__ import migrate
from shared.contracts.task_kinds import PARAMETERS
from shared.core.task import TaskKind
from tests.fakes.fresh import fresh_database
from tests.integration import stored


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(make_url(database_url).set(drivername="postgresql+asyncpg"))
    yield engine
    await engine.dispose()


def _is_a_partition_or_alembics(name: str | None) -> bool:
    return name == "alembic_version" or str(name).startswith(("deliveries_2", "attempts_2"))


def _is_another_type(
    _context: object, _found: object, _declared: object, found_type: TypeEngine[Any], declared_type: TypeEngine[Any]
) -> bool | None:
    """`text` is how PostgreSQL spells a string without a length; whatever else, Alembic compares."""
    if isinstance(found_type, TEXT) and isinstance(declared_type, String | AutoString) and not declared_type.length:
        return False
    return None


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": _is_another_type,
            "compare_server_default": True,
            "include_name": lambda name, kind, _parents: kind != "table" or not _is_a_partition_or_alembics(name),
        },
    )
    return list(compare_metadata(context, SQLModel.metadata))


async def test_the_models_and_the_migrated_schema_agree(engine: AsyncEngine, database_url: str) -> None:
    async with stored.connected(database_url) as raw:
        await stored.new_mailing(raw, 1)  # so that there are partitions
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


async def test_a_difference_would_be_seen(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("ALTER TABLE members DROP COLUMN display_name"))
        await connection.execute(text("DROP INDEX ix_outstanding_waiting"))
        found = await connection.run_sync(_differences)
        await connection.rollback()
    assert sorted(difference[0] for difference in found) == ["add_column", "add_index"]


async def test_enum_types_have_the_labels_of_the_models(engine: AsyncEngine) -> None:
    declared = {
        column.type.name: list(column.type.enums)
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Enum)
    }
    async with engine.connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT typname, array_agg(enumlabel::text ORDER BY enumsortorder)"
                " FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid GROUP BY typname"
            )
        )
        assert {row[0]: row[1] for row in rows} == declared


async def test_migrating_again_and_at_once_is_harmless(postgres_server: Postgres, database_url: str) -> None:
    async with stored.connected(database_url) as connection:
        list_id = await stored.new_list(connection, 3)
        await migrate(database_url)
        assert await connection.fetchval("SELECT count(*) FROM members WHERE list_id = $1", list_id) == 3
        name = "migrated_by_two_at_once"
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            await asyncio.gather(*(migrate(postgres_server.url_of(name)) for _ in range(2)))
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_an_empty_database_is_migrated(postgres_server: Postgres) -> None:
    async with fresh_database(postgres_server, "template0") as url:
        await migrate(url)
        async with stored.connected(url) as connection:
            assert await stored.new_list(connection, 1)
            assert await connection.fetchval("SELECT count(*) FROM tasks") == 0


async def test_a_new_database_gets_the_first_tasks_and_keeps_what_becomes_of_them(postgres_server: Postgres) -> None:
    async with fresh_database(postgres_server, "template0") as url:
        await migrate(url, with_first_tasks=True)
        async with stored.connected(url) as connection:
            made = await connection.fetch("SELECT kind, parameters, next_due_at > now() AS is_to_come FROM tasks")
            assert [row["kind"] for row in made] == ["roll_up", "held_posts", "held_members", "purge"]
            for row in made:
                assert row["is_to_come"]
                PARAMETERS[TaskKind(row["kind"])].model_validate_json(row["parameters"])
            await connection.execute("DELETE FROM tasks WHERE kind <> 'roll_up'")
            await migrate(url, with_first_tasks=True)
            assert await connection.fetchval("SELECT count(*) FROM tasks") == 1
