"""What became of a mailing's deliveries by domain and by hour: counted from the rows, at once or ahead.

A small mailing's are counted when somebody asks. A large one's would take seconds, so they are counted by a task and
kept, with the moment; what is counted anew replaces what was kept, so nothing can add up to something wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, text
from sqlmodel import Field, SQLModel

from shared.core.readings import CountedBy
from shared.store.columns import enum_type, moment_field
from shared.store.engine import RawConnection, Session

#: Recipients of mailings that are counted when somebody asks.
COUNTED_AT_ONCE = 5_000
#: Domains that are kept of a mailing, those with most deliveries.
KEPT_DOMAINS = 1_000


class RollUp(SQLModel, table=True):
    """When a mailing's deliveries were counted."""

    __tablename__ = "roll_ups"

    mailing_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    counted_at: datetime = moment_field(set_now=True)


class DeliveryCount(SQLModel, table=True):
    """What became of a mailing's deliveries: of all, at a domain, within an hour."""

    __tablename__ = "delivery_counts"

    mailing_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    counted_by: CountedBy = Field(sa_column=Column(enum_type(CountedBy, "counted_by"), primary_key=True))
    key: str = Field(primary_key=True)
    delivered: int = Field(sa_column=Column(BigInteger, nullable=False))
    refused: int = Field(sa_column=Column(BigInteger, nullable=False))
    waiting: int = Field(sa_column=Column(BigInteger, nullable=False))
    bounced: int = Field(sa_column=Column(BigInteger, nullable=False))


class PurgedReadings(SQLModel, table=True):
    """A mailing some of whose opens and clicks are deleted: nobody's name is kept of what comes later."""

    __tablename__ = "purged_readings"

    mailing_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """Deliveries that ended so; `waiting`: an attempt did not end them. Those that bounced are delivered ones."""

    delivered: int = 0
    refused: int = 0
    waiting: int = 0
    bounced: int = 0


@dataclass(frozen=True, slots=True)
class CountedDeliveries:
    """All of a mailing; the domains with most deliveries first; hours, by their begin, in order."""

    counted_at: datetime
    whole: DeliveryCounts
    domains: Mapping[str, DeliveryCounts]
    hours: Mapping[str, DeliveryCounts]


# A bounce is what a report says of a delivered copy; a refusal in our own session has no report.
_COUNTED = """
    SELECT by.counted_by, coalesce(domain, to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:00:00"Z"'), '') AS key,
           delivered, refused, waiting, bounced
    FROM (
        SELECT domain, hour, grouping(domain) = 0 AS is_domain, grouping(hour) = 0 AS is_hour,
               count(*) FILTER (WHERE state = 'delivered') AS delivered,
               count(*) FILTER (WHERE state = 'refused') AS refused,
               count(*) FILTER (WHERE is_waiting) AS waiting,
               count(bounce_id) AS bounced,
               row_number() OVER (PARTITION BY grouping(domain) ORDER BY count(*) DESC, domain) AS place
        FROM (
            SELECT split_part(d.recipient_key, '@', -1) AS domain, date_trunc('hour', d.ended_at, 'UTC') AS hour,
                   d.state, o.delivery_id IS NOT NULL AS is_waiting, b.id AS bounce_id
            FROM deliveries d
            LEFT JOIN outstanding o ON o.delivery_id = d.id AND o.attempt > 1
            LEFT JOIN bounce_events b ON b.delivery_id = d.id AND b.kind = 'bounce' AND b.message_id IS NOT NULL
            WHERE d.mailing_id = {mailing} AND d.mailing_created_at = {created_at}
        ) deliveries
        GROUP BY GROUPING SETS ((domain), (hour), ())
    ) counted
    CROSS JOIN LATERAL (
        SELECT CASE WHEN is_domain THEN 'domain' WHEN is_hour THEN 'hour' ELSE 'mailing' END::counted_by AS counted_by
    ) by
    WHERE (NOT is_hour OR hour IS NOT NULL) AND (NOT is_domain OR place <= {domains})
"""


async def of_mailing(
    session: Session, mailing_id: int, created_at: datetime, *, recipients: int, largest: int
) -> CountedDeliveries | None:
    """Counted now where that is quick, else, or when the rows are gone, as it was kept; `None` when it never was.

    Of domains, as many as `largest`.
    """
    if recipients <= COUNTED_AT_ONCE:
        counted = _COUNTED.format(mailing=":id", created_at=":created_at", domains=":largest")
        found = await _read(
            session,
            f"SELECT now() AS counted_at, counted.* FROM ({counted}) counted",
            {"id": mailing_id, "created_at": created_at, "largest": largest},
        )
        if found is not None and found.domains:
            return found
    return await _read(
        session,
        """
        SELECT r.counted_at, c.counted_by, c.key, c.delivered, c.refused, c.waiting, c.bounced
        FROM roll_ups r JOIN LATERAL (
            SELECT * FROM delivery_counts WHERE mailing_id = r.mailing_id
        ) c ON true WHERE r.mailing_id = :id
        """,
        {"id": mailing_id},
        largest=largest,
    )


async def _read(
    session: Session, statement: str, parameters: Mapping[str, object], *, largest: int | None = None
) -> CountedDeliveries | None:
    connection = await session.connection()
    rows = (await connection.execute(text(statement), dict(parameters))).all()
    counted = {
        by: {key: DeliveryCounts(*map(int, numbers)) for _, each, key, *numbers in rows if each == by.value}
        for by in (CountedBy.MAILING, CountedBy.DOMAIN, CountedBy.HOUR)
    }
    if not counted[CountedBy.MAILING]:
        return None
    domains = sorted(counted[CountedBy.DOMAIN].items(), key=lambda each: (-_size(each[1]), each[0]))
    return CountedDeliveries(
        counted_at=rows[0][0],
        whole=counted[CountedBy.MAILING][""],
        domains=dict(domains[:largest]),
        hours=dict(sorted(counted[CountedBy.HOUR].items())),
    )


def _size(counts: DeliveryCounts) -> int:
    return counts.delivered + counts.refused + counts.waiting


async def following(connection: RawConnection, *, after_id: int, days: int) -> Sequence[int]:
    """The next mailings that are to be counted: made within so many days, or not finished; by their ids."""
    rows = await connection.fetch(
        """
        SELECT id FROM mailings
        WHERE id > $1 AND list_id IS NOT NULL
          AND (created_at > now() - make_interval(days => $2) OR state <> 'finished')
        ORDER BY id LIMIT 50
        """,
        after_id,
        days,
    )
    return [row["id"] for row in rows]


async def count(connection: RawConnection, mailing_id: int) -> bool:
    """Count a mailing and keep it in the place of what was kept; whether it has deliveries."""
    created_at = await connection.fetchval("SELECT created_at FROM mailings WHERE id = $1", mailing_id)
    rows = await connection.fetch(
        _COUNTED.format(mailing="$1", created_at="$2", domains="$3"), mailing_id, created_at, KEPT_DOMAINS, timeout=600
    )
    if len(rows) == 1:  # The deliveries are purged: what was counted before is all that is known.
        return False
    await connection.execute(
        """
        INSERT INTO roll_ups (mailing_id) VALUES ($1)
        ON CONFLICT (mailing_id) DO UPDATE SET counted_at = excluded.counted_at
        """,
        mailing_id,
    )
    await connection.execute("DELETE FROM delivery_counts WHERE mailing_id = $1", mailing_id)
    await connection.execute(
        """
        INSERT INTO delivery_counts (mailing_id, counted_by, key, delivered, refused, waiting, bounced)
        SELECT $1, * FROM unnest($2::counted_by[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
        """,
        mailing_id,
        *(list(column) for column in zip(*rows, strict=True)),
    )
    return True
