"""Nodes: names, leases, settings, and how each left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Column, Float, delete, text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlmodel import Field, SQLModel, col, select

from shared.core.node import LeftBecause, NodeKind, NodeState
from shared.store.columns import enum_type, moment_field
from shared.store.engine import RawConnection, Session

#: The settings' row of nodes that nobody configured.
DEFAULTS = "*"


class Node(SQLModel, table=True):
    """A node by name, its present or last lease, and what it reported with its last sign of life."""

    __tablename__ = "nodes"

    name: str = Field(primary_key=True)
    kind: NodeKind = Field(sa_column=Column(enum_type(NodeKind, "node_kind"), nullable=False))
    state: NodeState = Field(sa_column=Column(enum_type(NodeState, "node_state"), nullable=False))
    #: One run of the process under the name; what batches are held by.
    incarnation: UUID = Field(unique=True)
    #: Counts the signs of life, so that a dead lease is known without comparing clocks.
    renewals: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    #: What the node can start, and what it sends, in recipients per second.
    capacity_per_second: float = Field(default=0, sa_column=Column(Float, nullable=False, server_default="0"))
    rate_per_second: float = Field(default=0, sa_column=Column(Float, nullable=False, server_default="0"))
    open_connections: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    unstarted: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    started_at: datetime = moment_field(set_now=True)
    renewed_at: datetime = moment_field(set_now=True)
    left_at: datetime | None = moment_field(nullable=True)
    left_because: LeftBecause | None = Field(
        default=None, sa_column=Column(enum_type(LeftBecause, "left_because"), nullable=True)
    )


class NodeConfiguration(SQLModel, table=True):
    """What an administrator set for a name, kept whether or not such a node is running; `*` holds the defaults."""

    __tablename__ = "node_settings"

    node_name: str = Field(primary_key=True)
    #: Only what was set: what is absent is inherited.
    settings: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    is_draining: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    updated_at: datetime = moment_field(set_now=True)


@dataclass(frozen=True, slots=True)
class Lease:
    """A name held by one run of a process."""

    name: str
    incarnation: UUID


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a node says of itself with every sign of life."""

    capacity_per_second: float = 0.0
    rate_per_second: float = 0.0
    open_connections: int = 0
    unstarted: int = 0


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an administrator set: the defaults' JSON object, the node's own, and whether it shall drain."""

    defaults_json: str
    own_json: str
    is_draining: bool
    #: The patterns of all domain limits.
    domain_limits: Sequence[str] = ()


async def register(connection: RawConnection, kind: NodeKind, name: str | None) -> Lease | None:
    """A lease on `name`, or on the lowest free slot `KIND-1`, `KIND-2`, …; `None` when a live node has the name."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('listfleet node names'))")
        if name is None:
            taken = {row["name"] for row in await connection.fetch("SELECT name FROM nodes WHERE state = 'live'")}
            name = next(f"{kind.value}-{n}" for n in range(1, len(taken) + 2) if f"{kind.value}-{n}" not in taken)
        lease = Lease(name, uuid4())
        status = await connection.execute(
            """
            INSERT INTO nodes (name, kind, state, incarnation) VALUES ($1, $2, 'live', $3)
            ON CONFLICT (name) DO UPDATE
               SET kind = excluded.kind, state = 'live', incarnation = excluded.incarnation, renewals = 0,
                   capacity_per_second = 0, rate_per_second = 0, open_connections = 0, unstarted = 0,
                   started_at = now(), renewed_at = now(), left_at = NULL, left_because = NULL
             WHERE nodes.state = 'left'
            """,
            name,
            kind.value,
            lease.incarnation,
        )
        return lease if status == "INSERT 0 1" else None


async def renewals_of(connection: RawConnection, name: str) -> tuple[UUID, int] | None:
    """The incarnation that lives under the name and its count of signs of life; `None` when none does."""
    row = await connection.fetchrow("SELECT incarnation, renewals FROM nodes WHERE name = $1 AND state = 'live'", name)
    return (row["incarnation"], row["renewals"]) if row else None


async def renew(connection: RawConnection, lease: Lease, vitals: Vitals) -> Configuration | None:
    """A sign of life; what the node is to obey from now on, `None` when its work was taken over."""
    row = await connection.fetchrow(
        """
        UPDATE nodes
        SET renewals = renewals + 1, renewed_at = now(), capacity_per_second = $2, rate_per_second = $3,
            open_connections = $4, unstarted = $5
        WHERE incarnation = $1 AND state = 'live'
        RETURNING (SELECT settings::text FROM node_settings WHERE node_name = '*') AS defaults,
                  (SELECT settings::text FROM node_settings s WHERE s.node_name = nodes.name) AS own,
                  coalesce((SELECT is_draining FROM node_settings s WHERE s.node_name = nodes.name), false) AS draining,
                  (SELECT coalesce(array_agg(pattern), '{}') FROM domain_limits) AS domain_limits
        """,
        lease.incarnation,
        vitals.capacity_per_second,
        vitals.rate_per_second,
        vitals.open_connections,
        vitals.unstarted,
    )
    if row is None:
        return None
    return Configuration(row["defaults"] or "{}", row["own"] or "{}", row["draining"], row["domain_limits"])


async def leave(
    connection: RawConnection, incarnation: UUID, because: LeftBecause, *, seen_renewals: int | None = None
) -> bool:
    """End a lease. With `seen_renewals`, only when no sign of life came since; whether it ended now."""
    status = await connection.execute(
        """
        UPDATE nodes SET state = 'left', left_at = now(), left_because = $2, capacity_per_second = 0,
                         rate_per_second = 0, open_connections = 0, unstarted = 0
        WHERE incarnation = $1 AND state = 'live' AND ($3::bigint IS NULL OR renewals = $3)
        """,
        incarnation,
        because.value,
        seen_renewals,
    )
    return bool(status == "UPDATE 1")


async def live_leases(connection: RawConnection) -> Mapping[UUID, int]:
    """Every live lease and its count of signs of life."""
    rows = await connection.fetch("SELECT incarnation, renewals FROM nodes WHERE state = 'live'")
    return {row["incarnation"]: row["renewals"] for row in rows}


async def forget_left(connection: RawConnection, *, after_seconds: float) -> None:
    """Forget nodes that left so long ago, unless somebody configured them."""
    await connection.execute(
        """
        DELETE FROM nodes WHERE state = 'left' AND left_at < now() - make_interval(secs => $1)
                            AND NOT EXISTS (SELECT FROM node_settings s WHERE s.node_name = nodes.name)
        """,
        after_seconds,
    )


async def all_nodes(session: Session) -> Sequence[Node]:
    return (await session.exec(select(Node).order_by(col(Node.name)))).all()


async def find(session: Session, name: str) -> Node | None:
    return await session.get(Node, name)


async def configuration_of(session: Session, name: str) -> NodeConfiguration:
    """What was set for a name (`DEFAULTS` for the defaults); empty when nothing was."""
    found = await session.get(NodeConfiguration, name)
    return found or NodeConfiguration(node_name=name, settings={})


async def configure(session: Session, name: str, changes: Mapping[str, Any], *, inherit: Sequence[str] = ()) -> None:
    """Merge `changes` into the name's settings and let those in `inherit` be inherited again."""
    statement = insert(NodeConfiguration).values(node_name=name, settings=dict(changes), is_draining=False)
    merged = text("(node_settings.settings || excluded.settings) - CAST(:inherit AS text[])").bindparams(
        inherit=list(inherit)
    )
    await session.exec(
        statement.on_conflict_do_update(
            index_elements=["node_name"], set_={"settings": merged, "updated_at": text("now()")}
        )
    )


async def set_draining(session: Session, name: str, *, is_draining: bool) -> None:
    statement = insert(NodeConfiguration).values(node_name=name, settings={}, is_draining=is_draining)
    await session.exec(
        statement.on_conflict_do_update(
            index_elements=["node_name"], set_={"is_draining": is_draining, "updated_at": text("now()")}
        )
    )


async def forget_empty_configuration(session: Session, name: str) -> None:
    """Forget that anybody configured the name, once nothing is set for it."""
    await session.exec(
        delete(NodeConfiguration).where(
            col(NodeConfiguration.node_name) == name,
            col(NodeConfiguration.settings) == {},
            col(NodeConfiguration.is_draining).is_(False),
        )
    )
