"""Limits of recipient domains, and which limit each known domain is under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, Column, Float, delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, SQLModel, col, select

from shared.core.pacing import next_within_seconds
from shared.store.columns import moment_field, within
from shared.store.engine import RawConnection, Session

#: What was found out about a domain is looked up again after so long: its mail exchangers may have changed.
FRESH_SECONDS = 3600.0


class DomainLimit(SQLModel, table=True):
    """What all nodes together may do towards the domains of a pattern; null is unlimited."""

    __tablename__ = "domain_limits"

    pattern: str = Field(primary_key=True)
    connections: int | None = None
    messages_per_minute: int | None = None
    messages_per_connection: int | None = None
    #: The first moment that is not given out yet.
    next_start_at: datetime | None = moment_field(nullable=True)
    #: The mailing that was released last; the one after it is next.
    turn_mailing_id: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    #: Nobody set it: the domain refused for volume.
    is_automatic: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    #: While it is slowed down: the rate, the one at which it first refused, its words, since when, the last change, and
    #: when it was last lowered.
    slowed_to_per_minute: float | None = Field(default=None, sa_column=Column(Float))
    slowed_from_per_minute: float | None = Field(default=None, sa_column=Column(Float))
    slowed_because: str | None = None
    slowed_at: datetime | None = moment_field(nullable=True)
    adjusted_at: datetime | None = moment_field(nullable=True)
    lowered_at: datetime | None = moment_field(nullable=True)
    updated_at: datetime = moment_field(set_now=True)


class Destination(SQLModel, table=True):
    """A recipient domain and the limit that it is under, as far as that was looked up."""

    __tablename__ = "destinations"

    domain: str = Field(primary_key=True)
    #: A pattern, or '' for none.
    domain_limit: str
    resolved_at: datetime = moment_field(set_now=True)


async def all_limits(session: Session) -> Sequence[DomainLimit]:
    return (await session.exec(select(DomainLimit).order_by(col(DomainLimit.pattern)))).all()


async def find(session: Session, pattern: str) -> DomainLimit | None:
    return await session.get(DomainLimit, pattern)


async def put(
    session: Session,
    pattern: str,
    *,
    connections: int | None,
    messages_per_minute: int | None,
    messages_per_connection: int | None,
) -> None:
    """Set a pattern's limit; every domain's limit is found out anew when the pattern is."""
    values = {
        "connections": connections,
        "messages_per_minute": messages_per_minute,
        "messages_per_connection": messages_per_connection,
        "is_automatic": False,
        "updated_at": text("now()"),
    }
    next_start_at = within(col(DomainLimit.next_start_at), next_within_seconds(messages_per_minute, 60.0))
    await session.exec(
        insert(DomainLimit)
        .values(pattern=pattern, **values)
        .on_conflict_do_update(index_elements=["pattern"], set_={**values, "next_start_at": next_start_at})
    )
    await session.exec(delete(Destination))


async def remove(session: Session, pattern: str) -> bool:
    """Lift a pattern's limit; whether there was one."""
    removed = await session.exec(delete(DomainLimit).where(col(DomainLimit.pattern) == pattern))
    await session.exec(delete(Destination))
    return bool(removed.rowcount)


async def connections_in_use(session: Session) -> Mapping[str, int]:
    """By pattern: the batches that are out, each of which has or will have a connection."""
    connection = await session.connection()
    rows = await connection.execute(
        text(
            "SELECT domain_limit, count(*) FROM batches"
            " WHERE domain_limit <> '' AND state IN ('released', 'claimed') GROUP BY domain_limit"
        )
    )
    return {row[0]: row[1] for row in rows}


async def forget_destinations(connection: RawConnection) -> None:
    """Forget domains that were last looked up long ago."""
    await connection.execute(
        "DELETE FROM destinations WHERE resolved_at < now() - make_interval(secs => $1)", 24 * FRESH_SECONDS
    )


async def patterns(connection: RawConnection) -> Sequence[str]:
    """All patterns that have a limit."""
    return [row["pattern"] for row in await connection.fetch("SELECT pattern FROM domain_limits ORDER BY pattern")]


async def unresolved(connection: RawConnection, mailing_id: int, *, page_size: int) -> Sequence[str]:
    """The domains of the next page of an expansion whose limit was not looked up lately."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT page.domain FROM (
            SELECT split_part(email_key, '@', -1) AS domain
            FROM mailings CROSS JOIN LATERAL (
                SELECT email_key FROM members
                WHERE list_id = coalesce(mailings.list_ids[mailings.expanded_lists + 1], mailings.list_id)
                  AND id > mailings.expanded_to_member_id
                ORDER BY id LIMIT $2
            ) next
            WHERE mailings.id = $1
        ) page
        WHERE NOT EXISTS (SELECT FROM destinations d WHERE d.domain = page.domain
                          AND d.resolved_at > now() - make_interval(secs => $3))
        """,
        mailing_id,
        page_size,
        FRESH_SECONDS,
    )
    return [row["domain"] for row in rows]


async def remember(connection: RawConnection, limits: Mapping[str, str]) -> None:
    """Write down which limit each domain is under: domain → pattern, '' for none."""
    domains = sorted(limits)
    await connection.execute(
        """
        INSERT INTO destinations (domain, domain_limit) SELECT * FROM unnest($1::text[], $2::text[])
        ON CONFLICT (domain) DO UPDATE SET domain_limit = excluded.domain_limit, resolved_at = now()
        """,
        domains,
        [limits[domain] for domain in domains],
    )
