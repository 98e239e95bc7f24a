"""What became of a mailing: sums that are kept, never rows that are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from shared.core.readings import CountedBy, ReadingKind
from shared.store.engine import Session

#: Links and domains that are told of, those with most events first.
LARGEST = 100


@dataclass(frozen=True, slots=True)
class ReadingCounts:
    """Events, and different recipients behind them."""

    total: int = 0
    readers: int = 0


#: By kind, and whether machines made them.
Readings = Mapping[tuple[ReadingKind, bool], ReadingCounts]


@dataclass(frozen=True, slots=True)
class CountedReadings:
    """The counts of a link, a domain, an hour."""

    #: The link's URL, the domain, the hour's begin.
    name: str
    readings: Readings


async def of_whole(session: Session, mailing_id: int) -> Readings:
    """The opens and clicks of a mailing."""
    found = await _counts(session, mailing_id, CountedBy.MAILING, limit=None)
    return found[0].readings if found else {}


async def largest(session: Session, mailing_id: int, by: CountedBy) -> Sequence[CountedReadings]:
    """The links or domains with most events, at most `LARGEST`."""
    return await _counts(session, mailing_id, by, limit=LARGEST)


async def of_keys(session: Session, mailing_id: int, by: CountedBy, keys: Sequence[str]) -> Mapping[str, Readings]:
    """The opens and clicks of these domains or hours, as far as there are any."""
    found = await _counts(session, mailing_id, by, limit=None, keys=keys)
    return {each.name: each.readings for each in found}


async def by_hour(session: Session, mailing_id: int) -> Sequence[CountedReadings]:
    """The hours with events, in order."""
    found = await _counts(session, mailing_id, CountedBy.HOUR, limit=None)
    return sorted(found, key=lambda each: each.name)


async def deferrals(session: Session, mailing_id: int) -> int:
    """How many attempts were deferred."""
    connection = await session.connection()
    rows = await connection.execute(
        text("SELECT coalesce(sum(deferred), 0) FROM batches WHERE mailing_id = :id"), {"id": mailing_id}
    )
    return int(rows.scalar_one())


_KINDS = tuple((kind, is_machine) for kind in ReadingKind for is_machine in (False, True))
_SUMS = ", ".join(
    f"coalesce(sum({column}) FILTER (WHERE kind = '{kind}' AND is_machine = {is_machine}), 0)::bigint"
    for kind, is_machine in _KINDS
    for column in ("total", "readers")
)
# One walk through the mailing's rows: joined to themselves, they would be walked through for each of them.
_COUNTED = f"""
    SELECT CASE :by WHEN 'link' THEN (SELECT url FROM tracked_links WHERE id = key::bigint) ELSE key END, sums.*
    FROM (
        SELECT key, {_SUMS} FROM reading_counts
        WHERE mailing_id = :id AND counted_by = CAST(:by AS counted_by) {{which}}
        GROUP BY key ORDER BY sum(total) DESC, key LIMIT CAST(:limit AS int)
    ) sums
"""


async def _counts(
    session: Session, mailing_id: int, by: CountedBy, *, limit: int | None, keys: Sequence[str] | None = None
) -> Sequence[CountedReadings]:
    connection = await session.connection()
    statement = text(_COUNTED.format(which="" if keys is None else "AND key = ANY(CAST(:keys AS text[]))"))
    named = {} if keys is None else {"keys": list(keys)}
    rows = await connection.execute(statement, {"id": mailing_id, "by": by.value, "limit": limit, **named})
    return [
        CountedReadings(
            name,
            {
                kind: ReadingCounts(total, readers)
                for kind, total, readers in zip(_KINDS, sums[::2], sums[1::2], strict=True)
            },
        )
        for name, _key, *sums in rows
    ]
