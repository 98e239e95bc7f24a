"""Nodes: names, leases, signs of life, and how each left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Column, Float, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel, col, select

from shared.core.ingress_limits import Busy
from shared.core.limits import HeldBack
from shared.core.node import LeftBecause, NodeKind, NodeState
from shared.core.tls_policy import TlsPolicy
from shared.store import stops
from shared.store.columns import enum_type, moment_field
from shared.store.engine import RawConnection, Session
from shared.store.stops import Stops


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
    #: What the node can start, and what it sends, in recipients per second; of an ingress node, the messages per second
    #: that it accepts.
    capacity_per_second: float = Field(default=0, sa_column=Column(Float, nullable=False, server_default="0"))
    rate_per_second: float = Field(default=0, sa_column=Column(Float, nullable=False, server_default="0"))
    #: Content it sends.
    megabits_per_second: float = Field(default=0, sa_column=Column(Float, nullable=False, server_default="0"))
    #: To other hosts; of an ingress node, its sessions.
    open_connections: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    unstarted: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    #: The lanes it takes recipients of; `None` is all.
    lanes: list[str] | None = Field(default=None, sa_column=Column(ARRAY(Text)))
    #: The fields of `HeldBack`, for each limit that holds the node back.
    held_back: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSONB, nullable=False, server_default=text("'[]'"))
    )
    #: The fields of `Busy`, of an ingress node that takes no more.
    busy: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    started_at: datetime = moment_field(set_now=True)
    renewed_at: datetime = moment_field(set_now=True)
    left_at: datetime | None = moment_field(nullable=True)
    left_because: LeftBecause | None = Field(
        default=None, sa_column=Column(enum_type(LeftBecause, "left_because"), nullable=True)
    )


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
    megabits_per_second: float = 0.0
    lanes: Sequence[str] | None = None
    held_back: Sequence[HeldBack] = ()
    busy: Busy | None = None


#: Of the node of a row of `nodes`: what `Configuration` is made of.
_CONFIGURATION = """
    (SELECT settings::text FROM node_settings s WHERE s.node_name = '*' AND s.kind = nodes.kind) AS defaults,
    (SELECT settings::text FROM node_settings s WHERE s.node_name = nodes.name AND s.kind = nodes.kind) AS own,
    coalesce((SELECT is_draining FROM node_settings s WHERE s.node_name = nodes.name AND s.kind = nodes.kind), false)
        AS draining,
    (SELECT jsonb_object_agg(domain, policy)::text FROM tls_policies) AS tls_policies,
    (SELECT coalesce(array_agg(pattern), '{}') FROM domain_limits) AS domain_limits,
    (SELECT coalesce(array_agg(m.id), '{}') FROM mailings m JOIN mailing_lists l ON l.id = m.list_id
     WHERE m.state <> 'finished' AND l.max_messages_per_hour IS NOT NULL) AS paced_mailings
"""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a node shall obey: the defaults' JSON object, its own, whether it shall drain, what is demanded of
    connections for which domains, and what may not start."""

    defaults_json: str
    own_json: str
    is_draining: bool
    tls_policies: Mapping[str, TlsPolicy]
    stops: Stops
    #: The patterns of all domain limits.
    domain_limits: Sequence[str] = ()
    #: Mailings whose list has messages an hour.
    paced_mailings: frozenset[int] = frozenset()


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
                   megabits_per_second = 0, lanes = NULL, held_back = '[]', busy = NULL,
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
        f"""
        UPDATE nodes
        SET renewals = renewals + 1, renewed_at = now(), capacity_per_second = $2, rate_per_second = $3,
            open_connections = $4, unstarted = $5, megabits_per_second = $6, lanes = $7, held_back = $8,
            busy = $9
        WHERE incarnation = $1 AND state = 'live'
        RETURNING {_CONFIGURATION}
        """,
        lease.incarnation,
        vitals.capacity_per_second,
        vitals.rate_per_second,
        vitals.open_connections,
        vitals.unstarted,
        vitals.megabits_per_second,
        vitals.lanes,
        json.dumps([_as_json(held_back) for held_back in vitals.held_back]),
        vitals.busy and json.dumps({"because": vitals.busy.because, "since_at": vitals.busy.since_at.isoformat()}),
    )
    return None if row is None else await _configuration(connection, row)


async def configuration_for(connection: RawConnection, kind: NodeKind, name: str) -> Configuration:
    """What a node of this kind and name is to obey, whether or not it has a lease."""
    row = await connection.fetchrow(
        f"SELECT {_CONFIGURATION} FROM (SELECT $1::text AS name, $2::node_kind AS kind) AS nodes",
        name,
        kind.value,
    )
    assert row is not None  # noqa: S101 - a row of constants
    return await _configuration(connection, row)


async def _configuration(connection: RawConnection, row: Any) -> Configuration:
    policies = {domain: TlsPolicy(policy) for domain, policy in json.loads(row["tls_policies"] or "{}").items()}
    stopped = await stops.read(connection)
    return Configuration(
        row["defaults"] or "{}",
        row["own"] or "{}",
        row["draining"],
        policies,
        stopped,
        row["domain_limits"],
        frozenset(row["paced_mailings"]),
    )


async def leave(
    connection: RawConnection, incarnation: UUID, because: LeftBecause, *, seen_renewals: int | None = None
) -> bool:
    """End a lease. With `seen_renewals`, only when no sign of life came since; whether it ended now."""
    status = await connection.execute(
        """
        UPDATE nodes SET state = 'left', left_at = now(), left_because = $2, capacity_per_second = 0,
                         rate_per_second = 0, open_connections = 0, unstarted = 0, megabits_per_second = 0,
                         held_back = '[]', busy = NULL
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
                            AND NOT EXISTS (SELECT FROM node_settings s WHERE s.node_name = nodes.name
                                                                          AND s.kind = nodes.kind)
        """,
        after_seconds,
    )


async def all_nodes(session: Session) -> Sequence[Node]:
    return (await session.exec(select(Node).order_by(col(Node.name)))).all()


async def find(session: Session, name: str) -> Node | None:
    return await session.get(Node, name)


def _as_json(held_back: HeldBack) -> dict[str, Any]:
    since_at = held_back.since_at.isoformat()
    return {"limit": held_back.limit.value, "since_at": since_at, "recipients": held_back.recipients}
