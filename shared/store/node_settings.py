"""What an administrator set for nodes, by kind and name, and the defaults of those nobody configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, delete, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel, col

from shared.core.node import NodeKind
from shared.store.columns import enum_type, moment_field
from shared.store.engine import Session

#: The name of the settings of nodes that nobody configured, one row a kind.
DEFAULTS = "*"


class NodeConfiguration(SQLModel, table=True):
    """What an administrator set for a name, kept whether or not such a node is running; `*` holds the defaults."""

    __tablename__ = "node_settings"

    node_name: str = Field(primary_key=True)
    kind: NodeKind = Field(sa_column=Column(enum_type(NodeKind, "node_kind"), primary_key=True, nullable=False))
    #: Only what was set: what is absent is inherited.
    settings: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    is_draining: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    updated_at: datetime = moment_field(set_now=True)


async def configuration_of(session: Session, kind: NodeKind, name: str) -> NodeConfiguration:
    """What was set for a name (`DEFAULTS` for the defaults); empty when nothing was."""
    found = await session.get(NodeConfiguration, (name, kind))
    return found or NodeConfiguration(node_name=name, kind=kind, settings={})


async def configure(
    session: Session, kind: NodeKind, name: str, changes: Mapping[str, Any], *, inherit: Sequence[str] = ()
) -> None:
    """Merge `changes` into the name's settings and let those in `inherit` be inherited again."""
    statement = insert(NodeConfiguration).values(node_name=name, kind=kind, settings=dict(changes), is_draining=False)
    merged = text("(node_settings.settings || excluded.settings) - CAST(:inherit AS text[])").bindparams(
        inherit=list(inherit)
    )
    await session.exec(
        statement.on_conflict_do_update(
            index_elements=["node_name", "kind"], set_={"settings": merged, "updated_at": text("now()")}
        )
    )


async def set_draining(session: Session, kind: NodeKind, name: str, *, is_draining: bool) -> None:
    statement = insert(NodeConfiguration).values(node_name=name, kind=kind, settings={}, is_draining=is_draining)
    await session.exec(
        statement.on_conflict_do_update(
            index_elements=["node_name", "kind"], set_={"is_draining": is_draining, "updated_at": text("now()")}
        )
    )


async def forget_empty_configuration(session: Session, kind: NodeKind, name: str) -> None:
    """Forget that anybody configured the name, once nothing is set for it."""
    await session.exec(
        delete(NodeConfiguration).where(
            col(NodeConfiguration.node_name) == name,
            col(NodeConfiguration.kind) == kind,
            col(NodeConfiguration.settings) == {},
            col(NodeConfiguration.is_draining).is_(False),
        )
    )
