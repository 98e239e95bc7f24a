"""What destinations answered, told by the nodes in sums, and the slowdowns that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import SQLModel

from shared.core.slowdown import FORGET_SECONDS, HOLD_SECONDS, INTERVAL_SECONDS, Slowdown, Tally
from shared.store.columns import identity_field, moment_field
from shared.store.engine import RawConnection

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('listfleet slowdowns'), 0)"


class DestinationTally(SQLModel, table=True):
    """A node's count of what a destination answered lately; gone when it is added up."""

    __tablename__ = "destination_tallies"

    id: int = identity_field()
    #: The pattern of the limit that the recipients were under, or their domain.
    destination: str
    accepted: int
    refused: int
    #: The last refusal's words.
    because: str
    told_at: datetime = moment_field(set_now=True)


@dataclass(frozen=True, slots=True)
class NodeTally:
    """What one node counted at one destination: a pattern, or a domain that is under no limit."""

    destination: str
    accepted: int
    refused: int
    because: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A domain limit, as far as slowing down is about it."""

    limit_per_minute: int | None
    slowdown: Slowdown | None


async def tell(connection: RawConnection, tallies: Sequence[NodeTally]) -> None:
    """A node's counts since it last told."""
    await connection.execute(
        """
        INSERT INTO destination_tallies (destination, accepted, refused, because)
        SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::text[])
        """,
        [tally.destination for tally in tallies],
        [tally.accepted for tally in tallies],
        [tally.refused for tally in tallies],
        [tally.because for tally in tallies],
    )


async def try_lock(connection: RawConnection) -> bool:
    """Whether this transaction may add up: one scheduler at a time."""
    return bool(await connection.fetchval(_TRY_LOCK))


async def add_up(connection: RawConnection) -> Mapping[str, tuple[Tally, str]]:
    """What all nodes told since the last time, by destination, with the words of a refusal; it is gone afterwards.

    Nothing when that was less than an interval ago.
    """
    seconds = await connection.fetchval(
        "SELECT extract(epoch FROM now() - min(told_at))::float FROM destination_tallies"
    )
    if seconds is None or seconds < INTERVAL_SECONDS:
        return {}
    rows = await connection.fetch(
        """
        WITH told AS (DELETE FROM destination_tallies WHERE id > 0 RETURNING *)
        SELECT destination, sum(accepted)::int AS accepted, sum(refused)::int AS refused,
               coalesce(max(because) FILTER (WHERE refused > 0), '') AS because
        FROM told GROUP BY destination
        """
    )
    return {row["destination"]: (Tally(row["accepted"], row["refused"], seconds), row["because"]) for row in rows}


async def standings(connection: RawConnection, destinations: Sequence[str]) -> Mapping[str, Standing]:
    """Those of the destinations that have a limit, which nobody changes until the transaction ends."""
    rows = await connection.fetch(
        """
        SELECT pattern, messages_per_minute, slowed_to_per_minute, slowed_from_per_minute,
               coalesce(lowered_at > now() - make_interval(secs => $2), false) AS is_fresh
        FROM domain_limits WHERE pattern = ANY($1) ORDER BY pattern FOR NO KEY UPDATE
        """,
        destinations,
        HOLD_SECONDS,
    )
    return {
        row["pattern"]: Standing(
            row["messages_per_minute"],
            Slowdown(row["slowed_to_per_minute"], row["slowed_from_per_minute"], is_fresh=row["is_fresh"])
            if row["slowed_to_per_minute"] is not None
            else None,
        )
        for row in rows
    }


async def slow(connection: RawConnection, pattern: str, slowdown: Slowdown, *, because: str) -> None:
    """Send to the pattern's domains no faster than this; a domain without a limit gets one that nobody set."""
    made = await connection.fetchval(
        """
        INSERT INTO domain_limits (pattern, is_automatic, slowed_to_per_minute, slowed_from_per_minute, slowed_because,
                                   slowed_at, adjusted_at, lowered_at)
        VALUES ($1, true, $2, $3, $4, now(), now(), now())
        ON CONFLICT (pattern) DO UPDATE
           SET slowed_to_per_minute = $2, slowed_from_per_minute = $3, adjusted_at = now(),
               slowed_because = coalesce(nullif($4, ''), domain_limits.slowed_because),
               slowed_at = coalesce(domain_limits.slowed_at, now()),
               lowered_at = CASE WHEN domain_limits.slowed_to_per_minute <= $2 THEN domain_limits.lowered_at
                                 ELSE now() END
        RETURNING xmax = 0
        """,
        pattern,
        slowdown.per_minute,
        slowdown.from_per_minute,
        because,
    )
    if made:
        await connection.execute(
            """
            INSERT INTO destinations (domain, domain_limit) VALUES ($1, $1)
            ON CONFLICT (domain) DO UPDATE SET domain_limit = excluded.domain_limit, resolved_at = now()
            """,
            pattern,
        )


async def lift(connection: RawConnection, patterns: Sequence[str]) -> None:
    """These are at full speed again; a limit that nobody set is gone."""
    await connection.execute(
        "DELETE FROM destinations WHERE domain IN (SELECT pattern FROM domain_limits"
        " WHERE pattern = ANY($1) AND is_automatic)",
        patterns,
    )
    await connection.execute("DELETE FROM domain_limits WHERE pattern = ANY($1) AND is_automatic", patterns)
    await connection.execute(
        """
        UPDATE domain_limits SET slowed_to_per_minute = NULL, slowed_from_per_minute = NULL, slowed_because = NULL,
                                 slowed_at = NULL, adjusted_at = NULL, lowered_at = NULL
        WHERE pattern = ANY($1)
        """,
        patterns,
    )


async def stale(connection: RawConnection) -> Sequence[str]:
    """Patterns that were slowed down and not adjusted for long: nothing was sent there."""
    rows = await connection.fetch(
        "SELECT pattern FROM domain_limits WHERE adjusted_at < now() - make_interval(secs => $1)", FORGET_SECONDS
    )
    return [row["pattern"] for row in rows]
