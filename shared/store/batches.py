"""Batches: recipients of one mailing, released together, claimed by one node.

Every transaction that changes batches first locks their rows in id order (`lock`), in a statement of its own; so none
deadlocks, and what is read afterwards is what the others left (READ COMMITTED).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, Float, Index, text
from sqlmodel import Field, SQLModel

from shared.contracts.topology import Lane
from shared.core.node import BatchState
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection

#: At so many deaths of its nodes a delivery is released alone, and at so many it is parked.
DEATHS_UNTIL_ALONE = 2
DEATHS_UNTIL_PARKED = 5
#: Those released alone are due so long after one another, all within so long: were they sent at once again, they would
#: die together again.
ALONE_EVERY_SECONDS = 0.5
ALONE_WITHIN_SECONDS = 30.0
#: Batches of dead nodes that one transaction takes over.
TAKEN_OVER_AT_ONCE = 200


class Batch(SQLModel, table=True):
    """A batch, who holds it, and how far it is. Its members are the `outstanding` rows that name it."""

    __tablename__ = "batches"
    __table_args__ = (
        Index("ix_batches_mailing_id", "mailing_id"),
        # What is out: for windows, takeover and the sweep.
        Index("ix_batches_lane_out", "lane", postgresql_where=text("state IN ('released', 'claimed')")),
        # The connections that a limit has in use.
        Index(
            "ix_batches_limited_out",
            "domain_limit",
            postgresql_where=text("domain_limit <> '' AND state IN ('released', 'claimed')"),
        ),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    id: int = identity_field()
    mailing_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    mailing_created_at: datetime = moment_field()
    lane: Lane = Field(sa_column=Column(enum_type(Lane, "lane"), nullable=False))
    state: BatchState = Field(sa_column=Column(enum_type(BatchState, "batch_state"), nullable=False))
    #: The lease that holds it (an incarnation, never a name), that node's name, and the token it drew.
    holder: UUID | None = None
    node_name: str | None = None
    claim: UUID | None = None
    #: Recipients without an outcome, and those of them that were not started. What follows counts deliveries by how
    #: they ended here, but for `deferred`, which counts attempts.
    open: int
    unstarted: int
    delivered: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    refused: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    deferred: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    unknown: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    parked: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    publishes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    publish_due_at: datetime | None = moment_field(nullable=True)
    released_at: datetime = moment_field(set_now=True)
    claimed_at: datetime | None = moment_field(nullable=True)
    closed_at: datetime | None = moment_field(nullable=True)
    #: Under a limit of its domain or its list: one connection, which is closed before the batch is.
    is_limited: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    #: The pattern of the domain limit that all its recipients are under, '' for none.
    domain_limit: str = Field(default="", sa_column_kwargs={"server_default": ""})
    #: The first of its moments (`core/pacing.py`) and how far apart they are; without a rate, null.
    starts_at: datetime | None = moment_field(nullable=True)
    start_interval_seconds: float | None = Field(default=None, sa_column=Column(Float))


async def lock(connection: RawConnection, batch_ids: Sequence[int]) -> Mapping[int, UUID | None]:
    """Lock the rows in id order; the claim on each batch that is claimed now."""
    rows = await connection.fetch(
        "SELECT id, CASE WHEN state = 'claimed' THEN claim END AS claim FROM batches"
        " WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        batch_ids,
    )
    return {row["id"]: row["claim"] for row in rows}


async def lock_members(
    connection: RawConnection, delivery_ids: Sequence[int], *, also: Collection[int] = ()
) -> Mapping[int, int | None] | None:
    """Lock the batches of those deliveries that are outstanding, and `also`, and then the rows: delivery → batch.

    Nobody else can move them then, those in no batch included: a release passes locked rows over. `None` when one was
    moved in between: the transaction is to begin anew.
    """
    seen = await connection.fetch(_BATCHES_OF, delivery_ids)
    locked = {row["batch_id"] for row in seen if row["batch_id"] is not None}.union(also)
    await lock(connection, sorted(locked))
    rows = await connection.fetch(f"{_BATCHES_OF} ORDER BY delivery_id FOR UPDATE", delivery_ids)
    members = {row["delivery_id"]: row["batch_id"] for row in rows}
    return members if locked.issuperset(batch_id for batch_id in members.values() if batch_id is not None) else None


_BATCHES_OF = "SELECT delivery_id, batch_id FROM outstanding WHERE delivery_id = ANY($1)"


async def hand_back(
    connection: RawConnection,
    batch_id: int,
    token: UUID,
    delivery_ids: Sequence[int],
    *,
    unstarted: int,
    domain_limit: str | None = None,
) -> None:
    """Let others send these recipients, which were not started; no counter of theirs moves.

    With `domain_limit` they go back as recipients under that limit, '' for none, whatever they were taken for.
    `unstarted` is what the holder has left unstarted in the batch. A recipient that was delivered by an earlier
    holder after all is not released again.
    """
    async with connection.transaction():
        if (await lock(connection, [batch_id])).get(batch_id) != token:
            return
        await connection.execute(
            f"""
            WITH back AS (
                SELECT delivery_id, mailing_created_at FROM outstanding WHERE batch_id = $1 AND delivery_id = ANY($2)
            ), {_DROP_DELIVERED}, kept AS (
                UPDATE outstanding o SET batch_id = NULL, domain_limit = coalesce($4, o.domain_limit) FROM back
                WHERE o.delivery_id = back.delivery_id AND o.delivery_id NOT IN (SELECT delivery_id FROM dropped)
            ), moved AS (SELECT count(*) AS n FROM back)
            UPDATE batches
            SET open = open - n, unstarted = $3,
                state = CASE WHEN open = n THEN 'closed' ELSE state END,
                closed_at = CASE WHEN open = n THEN now() END
            FROM moved WHERE id = $1
            """,
            batch_id,
            delivery_ids,
            unstarted,
            domain_limit,
        )


#: A part of a statement: of the rows in `back`, those delivered already are outstanding no more.
_DROP_DELIVERED = """dropped AS (
    DELETE FROM outstanding o USING back, deliveries d
    WHERE o.delivery_id = back.delivery_id AND d.id = back.delivery_id
      AND d.mailing_created_at = back.mailing_created_at AND d.state = 'delivered'
    RETURNING o.delivery_id
)"""


async def report_unstarted(connection: RawConnection, claims: Mapping[int, tuple[UUID, int]]) -> None:
    """Write down how many recipients the holder of each batch has not started: batch → (claim, unstarted)."""
    batch_ids = sorted(claims)
    async with connection.transaction():
        await lock(connection, batch_ids)
        await connection.execute(
            """
            UPDATE batches SET unstarted = given.unstarted
            FROM unnest($1::bigint[], $2::uuid[], $3::int[]) AS given (id, claim, unstarted)
            WHERE batches.id = given.id AND batches.claim = given.claim AND batches.state = 'claimed'
            """,
            batch_ids,
            [claims[batch_id][0] for batch_id in batch_ids],
            [claims[batch_id][1] for batch_id in batch_ids],
        )


async def claimed_by(connection: RawConnection, lease: UUID) -> Mapping[int, UUID]:
    """The batches that this lease holds by the rows, and the claims."""
    rows = await connection.fetch("SELECT id, claim FROM batches WHERE state = 'claimed' AND holder = $1", lease)
    return {row["id"]: row["claim"] for row in rows}


async def hand_back_whole(connection: RawConnection, batch_id: int, token: UUID) -> None:
    """Hand back a batch whose claim succeeded without the node learning of it: nothing of it was started."""
    rows = await connection.fetch("SELECT delivery_id FROM outstanding WHERE batch_id = $1", batch_id)
    await hand_back(connection, batch_id, token, [row["delivery_id"] for row in rows], unstarted=0)


async def take_over_orphans(connection: RawConnection) -> int:
    """Revoke every claim without a live lease and let its recipients be released again; how many those are.

    Their attempt and their count of deaths go up by one. From the second death on they are due one after the other,
    those of one transaction within `ALONE_WITHIN_SECONDS`; at five deaths a delivery is parked, whole. A transaction
    takes some of the batches, so that whoever runs out of time has not done it all for nothing.
    """
    recipients = 0
    while (taken_over := await _take_over_some(connection)) is not None:
        recipients += taken_over
    return recipients


async def _take_over_some(connection: RawConnection) -> int | None:
    """The recipients of some batches that were taken over; `None` when there was no batch left."""
    async with connection.transaction():
        orphans = await connection.fetch(
            """
            SELECT id FROM batches
            WHERE state = 'claimed'
              AND NOT EXISTS (SELECT FROM nodes WHERE nodes.incarnation = batches.holder AND nodes.state = 'live')
            ORDER BY id LIMIT $1 FOR NO KEY UPDATE
            """,
            TAKEN_OVER_AT_ONCE,
        )
        if not orphans:
            return None
        return await connection.fetchval(  # type: ignore[no-any-return]
            f"""
            WITH back AS (
                SELECT delivery_id, mailing_created_at, batch_id, deaths + 1 AS deaths,
                       deaths + 1 >= $3 AS is_alone, row_number() OVER alike - 1 AS place, count(*) OVER alike AS alike
                FROM outstanding WHERE batch_id = ANY($1)
                WINDOW alike AS (PARTITION BY deaths + 1 >= $3)
            ), {_DROP_DELIVERED}, set_aside AS (
                UPDATE deliveries d SET state = 'parked', ended_at = now() FROM back
                WHERE d.id = back.delivery_id AND d.mailing_created_at = back.mailing_created_at
                  AND back.deaths >= $2 AND d.state = 'open'
                RETURNING d.id, d.mailing_id, d.mailing_created_at, back.batch_id
            ), kept_aside AS (
                INSERT INTO parked (kind, because, delivery_id, mailing_id, mailing_created_at)
                SELECT 'delivery', 'Its nodes died ' || $2::int || ' times.', id, mailing_id, mailing_created_at
                FROM set_aside ORDER BY id
            ), gone AS (
                DELETE FROM outstanding o USING set_aside WHERE o.delivery_id = set_aside.id
            ), kept AS (
                UPDATE outstanding o
                SET batch_id = NULL, attempt = o.attempt + 1, deaths = back.deaths,
                    due_at = now() + CASE WHEN back.is_alone THEN
                        make_interval(secs => back.place * least($4::float, $5::float / back.alike))
                        ELSE '0' END
                FROM back WHERE o.delivery_id = back.delivery_id AND back.deaths < $2
                  AND o.delivery_id NOT IN (SELECT delivery_id FROM dropped)
                RETURNING 1
            ), revoked AS (
                UPDATE batches b
                SET state = 'revoked', closed_at = now(), open = 0, unstarted = 0,
                    parked = b.parked + (SELECT count(*) FROM set_aside WHERE set_aside.batch_id = b.id)
                WHERE b.id = ANY($1)
            )
            SELECT count(*) FROM kept
            """,
            [row["id"] for row in orphans],
            DEATHS_UNTIL_PARKED,
            DEATHS_UNTIL_ALONE,
            ALONE_EVERY_SECONDS,
            ALONE_WITHIN_SECONDS,
        )
