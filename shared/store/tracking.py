"""What readers did: the events, once each, and the counts that follow from them, in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint, text
from sqlalchemy import Uuid as SqlUuid
from sqlmodel import Field, SQLModel

from shared.core.machines import judged
from shared.core.readings import CountedBy, CountKey, Counts, MachineSign, Reading, ReadingKind, counted
from shared.core.tracking import TrackingPolicy
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection

#: More events of one delivery are kept as nobody's, and as a machine's: what one reader does has to stay cheap to
#: judge.
MAX_EVENTS_A_DELIVERY = 300


class TrackedLink(SQLModel, table=True):
    """A link of a mailing that somebody followed."""

    __tablename__ = "tracked_links"
    __table_args__ = (UniqueConstraint("mailing_id", "url"),)

    id: int = identity_field()
    mailing_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    url: str


class TrackingEvent(SQLModel, table=True):
    """A copy was opened, or a link of it followed."""

    __tablename__ = "tracking_events"
    __table_args__ = (
        Index("ix_tracking_events_delivery_id", "delivery_id", postgresql_where=text("delivery_id IS NOT NULL")),
        # What persons did, by member: machines' events, which are the most, are not in it.
        Index(
            "ix_tracking_events_member_id",
            "member_id",
            "at",
            postgresql_where=text("member_id IS NOT NULL AND judged IS NULL"),
        ),
    )

    #: Drawn by the node that saw it.
    id: UUID = Field(sa_column=Column(SqlUuid, primary_key=True))
    mailing_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    #: Null where nobody's name is kept.
    delivery_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    #: The delivery's member.
    member_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    #: 0: the copy was opened.
    link_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    at: datetime = moment_field()
    #: What the request itself told of a machine, and what it is judged by now; null: a person's.
    sign: MachineSign | None = Field(default=None, sa_column=Column(enum_type(MachineSign, "machine_sign")))
    judged: MachineSign | None = Field(default=None, sa_column=Column(enum_type(MachineSign, "machine_sign")))


class ReadingCount(SQLModel, table=True):
    """So many events, and readers behind them, of a mailing as a whole, a link, a domain, an hour."""

    __tablename__ = "reading_counts"

    mailing_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    counted_by: CountedBy = Field(sa_column=Column(enum_type(CountedBy, "counted_by"), primary_key=True))
    key: str = Field(primary_key=True)
    kind: ReadingKind = Field(sa_column=Column(enum_type(ReadingKind, "reading_kind"), primary_key=True))
    is_machine: bool = Field(primary_key=True)
    total: int = Field(sa_column=Column(BigInteger, nullable=False))
    readers: int = Field(sa_column=Column(BigInteger, nullable=False))


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as a tracking node saw it."""

    id: UUID
    at: datetime
    mailing_id: int
    delivery_id: int | None
    #: `None`: the copy was opened.
    url: str | None
    sign: MachineSign | None


@dataclass(frozen=True, slots=True)
class _Delivery:
    domain: str
    delivered_at: datetime | None
    member_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """An event that is counted."""

    id: UUID
    reading: Reading


async def record(connection: RawConnection, events: Sequence[NewEvent]) -> None:
    """Count these events, in the caller's transaction; those that were counted before are left alone.

    What a list keeps is judged now, whatever it kept when the mail was sent: nothing, or nobody's name.
    """
    await take_turns(connection, sorted({event.mailing_id for event in events}))
    known = await connection.fetch("SELECT id FROM tracking_events WHERE id = ANY($1)", [event.id for event in events])
    new = {event.id: event for event in events}
    for row in known:
        del new[row["id"]]
    deliveries, kept = await _as_lists_want(connection, list(new.values()))
    link_ids = await _link_ids(connection, kept)
    histories = await _histories(connection, deliveries)
    by_recipient: dict[tuple[int, int | None], list[_Kept]] = defaultdict(list)
    for event in kept:
        reading = Reading(event.at, link_ids[event.mailing_id, event.url] if event.url else 0, event.sign)
        delivery_id = event.delivery_id
        if delivery_id is not None:
            had = len(histories.get(delivery_id, ())) + len(by_recipient[event.mailing_id, delivery_id])
            if had >= MAX_EVENTS_A_DELIVERY:
                delivery_id, reading = None, replace(reading, sign=MachineSign.REPEATED)
        by_recipient[event.mailing_id, delivery_id].append(_Kept(event.id, reading))
    changes: dict[tuple[int, CountKey], list[int]] = defaultdict(lambda: [0, 0])
    inserts: list[tuple[object, ...]] = []
    updates: list[tuple[UUID, MachineSign | None]] = []
    for (mailing_id, delivery_id), added in by_recipient.items():
        if not added:
            continue
        delivery = deliveries.get(delivery_id or 0, _Delivery("", None))
        before = histories.get(delivery_id or 0, [])
        readings = [*(old.reading for old, _ in before), *(each.reading for each in added)]
        if delivery_id is None:
            signs = [reading.sign for reading in readings]
        else:
            signs = judged(readings, delivery.delivered_at)
        was = _counts([old.reading for old, _ in before], [sign for _, sign in before], delivery, delivery_id)
        for key, (total, readers) in _counts(readings, signs, delivery, delivery_id).since(was).items():
            change = changes[mailing_id, key]
            change[0] += total
            change[1] += readers
        updates += [(old.id, sign) for (old, had), sign in zip(before, signs, strict=False) if sign is not had]
        inserts += [
            (
                each.id,
                mailing_id,
                delivery_id,
                delivery.member_id,
                each.reading.link_id,
                each.reading.at,
                each.reading.sign,
                sign,
            )
            for each, sign in zip(added, signs[len(before) :], strict=True)
        ]
    await _write(connection, inserts, updates, changes)


async def take_turns(connection: RawConnection, mailing_ids: Sequence[int]) -> None:
    """Until the transaction ends, nobody else changes the events and counts of these mailings, in order."""
    # In a statement of its own: what follows sees all before.
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('tracking ' || id, 0)) FROM unnest($1::bigint[]) AS t (id)",
        mailing_ids,
    )


def _counts(
    readings: Sequence[Reading], signs: Sequence[MachineSign | None], delivery: _Delivery, delivery_id: int | None
) -> Counts:
    return counted(readings, signs, domain=delivery.domain, is_known=delivery_id is not None)


async def _as_lists_want(
    connection: RawConnection, events: Sequence[NewEvent]
) -> tuple[Mapping[int, _Delivery], Sequence[NewEvent]]:
    """The deliveries that events name, and the events that are kept, without those names that are not."""
    rows = await connection.fetch(
        """
        SELECT m.id, m.created_at, coalesce(l.tracking, 'off') AS tracking, now() AS now,
               EXISTS (SELECT FROM purged_readings WHERE mailing_id = m.id) AS is_purged
        FROM mailings m LEFT JOIN mailing_lists l ON l.id = m.list_id WHERE m.id = ANY($1)
        """,
        list({event.mailing_id for event in events}),
    )
    mailings = {row["id"]: row for row in rows if row["tracking"] != TrackingPolicy.OFF.value}
    named = {
        event.delivery_id: event.mailing_id
        for event in events
        if event.delivery_id is not None
        and event.mailing_id in mailings
        and mailings[event.mailing_id]["tracking"] == TrackingPolicy.FULL.value
        and not mailings[event.mailing_id]["is_purged"]
    }
    found = await connection.fetch(
        """
        SELECT named.id, d.domain, d.delivered_at, d.member_id
        FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) AS named (id, mailing_id, mailing_created_at)
        CROSS JOIN LATERAL (
            SELECT split_part(d.recipient_key, '@', -1) AS domain,
                   CASE WHEN d.state = 'delivered' THEN d.ended_at END AS delivered_at, d.member_id
            FROM deliveries d WHERE d.id = named.id AND d.mailing_created_at = named.mailing_created_at
                                AND d.mailing_id = named.mailing_id LIMIT 1
        ) d
        """,
        list(named),
        list(named.values()),
        [mailings[mailing_id]["created_at"] for mailing_id in named.values()],
    )
    deliveries = {row["id"]: _Delivery(row["domain"], row["delivered_at"], row["member_id"]) for row in found}
    kept = [
        replace(
            event,
            delivery_id=event.delivery_id if event.delivery_id in deliveries else None,
            # A node's clock may be ahead; nothing happened later than now.
            at=min(event.at, mailings[event.mailing_id]["now"]),
        )
        for event in events
        if event.mailing_id in mailings
    ]
    return deliveries, kept


async def _link_ids(connection: RawConnection, events: Iterable[NewEvent]) -> Mapping[tuple[int, str], int]:
    links = sorted({(event.mailing_id, event.url) for event in events if event.url})
    if not links:
        return {}
    columns = [mailing_id for mailing_id, _ in links], [url for _, url in links]
    await connection.execute(
        "INSERT INTO tracked_links (mailing_id, url) SELECT * FROM unnest($1::bigint[], $2::text[]) AS t (m, u)"
        " WHERE NOT EXISTS (SELECT FROM tracked_links l WHERE l.mailing_id = m AND l.url = u)",
        *columns,
    )
    rows = await connection.fetch(
        "SELECT l.id, l.mailing_id, l.url FROM unnest($1::bigint[], $2::text[]) AS t (m, u)"
        " JOIN tracked_links l ON l.mailing_id = m AND l.url = u",
        *columns,
    )
    return {(row["mailing_id"], row["url"]): row["id"] for row in rows}


async def _histories(
    connection: RawConnection, deliveries: Mapping[int, _Delivery]
) -> Mapping[int, list[tuple[_Kept, MachineSign | None]]]:
    """The events of these deliveries that are counted, with what they are judged by."""
    rows = await connection.fetch(
        "SELECT id, delivery_id, link_id, at, sign, judged FROM tracking_events WHERE delivery_id = ANY($1)",
        list(deliveries),
    )
    histories: dict[int, list[tuple[_Kept, MachineSign | None]]] = defaultdict(list)
    for row in rows:
        kept = _Kept(row["id"], Reading(row["at"], row["link_id"], _sign(row["sign"])))
        histories[row["delivery_id"]].append((kept, _sign(row["judged"])))
    return histories


def _sign(value: str | None) -> MachineSign | None:
    return None if value is None else MachineSign(value)


async def _write(
    connection: RawConnection,
    inserts: Sequence[tuple[object, ...]],
    updates: Sequence[tuple[UUID, MachineSign | None]],
    changes: Mapping[tuple[int, CountKey], Sequence[int]],
) -> None:
    if inserts:
        await connection.execute(
            "INSERT INTO tracking_events (id, mailing_id, delivery_id, member_id, link_id, at, sign, judged)"
            " SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],"
            " $6::timestamptz[], $7::machine_sign[], $8::machine_sign[])",
            *(list(column) for column in zip(*inserts, strict=True)),
        )
    if updates:
        await connection.execute(
            "UPDATE tracking_events e SET judged = t.judged"
            " FROM unnest($1::uuid[], $2::machine_sign[]) AS t (id, judged) WHERE e.id = t.id",
            [event_id for event_id, _ in updates],
            [sign for _, sign in updates],
        )
    if changes:
        ordered = sorted(changes)
        await connection.execute(
            """
            INSERT INTO reading_counts AS c (mailing_id, counted_by, key, kind, is_machine, total, readers)
            SELECT * FROM unnest($1::bigint[], $2::counted_by[], $3::text[], $4::reading_kind[], $5::boolean[],
                                 $6::bigint[], $7::bigint[])
            ON CONFLICT (mailing_id, counted_by, key, kind, is_machine)
            DO UPDATE SET total = c.total + excluded.total, readers = c.readers + excluded.readers
            """,
            [mailing_id for mailing_id, _ in ordered],
            [key.by for _, key in ordered],
            [key.key for _, key in ordered],
            [key.kind for _, key in ordered],
            [key.is_machine for _, key in ordered],
            [changes[each][0] for each in ordered],
            [changes[each][1] for each in ordered],
        )
