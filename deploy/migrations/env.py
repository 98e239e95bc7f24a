"""Alembic's environment: runs the migrations on the connection that `deploy.migrations` opened."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import deploy.migrations.tables  # noqa: F401 - fills the metadata that autogenerate compares with

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata)
with context.begin_transaction():
    context.run_migrations()
