"""Scores of members: each reported bounce is counted once, and who has too much is held."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.core.bounce import BounceClass, Diagnosis, diagnose
from shared.core.bounce_score import Score, points_of, scored, wants_probe
from shared.core.membership import MemberStatus
from shared.store.engine import RawConnection, Record


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of scoring some bounces."""

    events: int = 0
    #: Members who were held now, and why.
    held: Mapping[int, str] = field(default_factory=dict)
    #: Members whom the next bounce may hold.
    to_probe: tuple[int, ...] = ()


async def score(connection: RawConnection, *, limit: int = 200) -> Scored:
    """Score up to `limit` bounces that nobody has scored, and hold the members who are over.

    In a transaction of the caller's. Any number of schedulers may do it at once.
    """
    events = await connection.fetch(
        """
        SELECT id, member_id, bounce_class, is_hard, status, reply, happened_at, is_probe FROM bounce_events
        WHERE scored_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
        """,
        limit,
    )
    if not events:
        return Scored()
    members = await connection.fetch(
        """
        SELECT m.id, m.status, m.bounce_score, m.bounced_at, l.bounce_limit, l.bounce_quiet_days
        FROM members m JOIN mailing_lists l ON l.id = m.list_id
        WHERE m.id = ANY($1) ORDER BY m.id FOR NO KEY UPDATE OF m
        """,
        sorted({event["member_id"] for event in events}),
    )
    tally = _Tally({row["id"]: row for row in members})
    # Some milliseconds each, of words that are written to be slow to read.
    diagnoses = await asyncio.to_thread(_diagnoses, events)
    for event, diagnosis in zip(events, diagnoses, strict=True):
        tally.add(event, diagnosis)
    await tally.write(connection)
    return Scored(len(events), tally.held, tuple(tally.to_probe))


def _diagnoses(events: Sequence[Record]) -> list[Diagnosis]:
    """Of reports, as they were read; of refusals in our sessions, by the remote's words."""
    return [
        Diagnosis(BounceClass(event["bounce_class"]), event["is_hard"])
        if event["bounce_class"]
        else diagnose(event["status"], event["reply"])
        for event in events
    ]


class _Tally:
    """Scores of some members while their bounces are added."""

    def __init__(self, members: Mapping[int, Record]) -> None:
        self._members = members
        self._scores = {member_id: Score(row["bounce_score"], row["bounced_at"]) for member_id, row in members.items()}
        self._given: list[tuple[int, Diagnosis, float]] = []
        self.held: dict[int, str] = {}
        self.to_probe: set[int] = set()

    def add(self, event: Record, diagnosis: Diagnosis) -> None:
        member_id = event["member_id"]
        points = 0.0
        if member_id in self._members:
            terms = self._members[member_id]
            before = self._scores[member_id]
            after = scored(
                before,
                diagnosis,
                event["happened_at"],
                quiet_days=terms["bounce_quiet_days"],
                is_probe=event["is_probe"],
            )
            self._scores[member_id] = after
            points = 0.0 if after == before else points_of(diagnosis, is_probe=event["is_probe"])
            if terms["bounce_limit"] is not None and terms["status"] == MemberStatus.SUBSCRIBED.value:
                self._judge(member_id, before, after, terms["bounce_limit"], diagnosis, event["reply"])
        self._given.append((event["id"], diagnosis, points))

    def _judge(
        self, member_id: int, before: Score, after: Score, limit: float, diagnosis: Diagnosis, reply: str
    ) -> None:
        if after != before and after.points >= limit:
            self.to_probe.discard(member_id)
            self.held.setdefault(member_id, f"{diagnosis.bounce_class.value}: {reply}"[:500])
        elif wants_probe(before, after, limit):
            self.to_probe.add(member_id)

    async def write(self, connection: RawConnection) -> None:
        await connection.execute(
            """
            UPDATE bounce_events e SET scored_at = now(), bounce_class = given.bounce_class, is_hard = given.is_hard,
                                       points = given.points
            FROM unnest($1::bigint[], $2::bounce_class[], $3::boolean[], $4::float[])
                 AS given (id, bounce_class, is_hard, points)
            WHERE e.id = given.id
            """,
            [event_id for event_id, _, _ in self._given],
            [diagnosis.bounce_class.value for _, diagnosis, _ in self._given],
            [diagnosis.is_hard for _, diagnosis, _ in self._given],
            [points for _, _, points in self._given],
        )
        await connection.execute(
            """
            UPDATE members m
            SET bounce_score = given.points, bounced_at = given.bounced_at,
                status = CASE WHEN given.because IS NULL THEN m.status ELSE 'held' END,
                held_at = CASE WHEN given.because IS NULL THEN m.held_at ELSE now() END,
                held_because = coalesce(given.because, m.held_because),
                held_reminders = CASE WHEN given.because IS NULL THEN m.held_reminders ELSE 0 END,
                held_reminded_at = CASE WHEN given.because IS NULL THEN m.held_reminded_at END
            FROM unnest($1::bigint[], $2::float[], $3::timestamptz[], $4::text[])
                 AS given (id, points, bounced_at, because)
            WHERE m.id = given.id
            """,
            list(self._scores),
            [each.points for each in self._scores.values()],
            [each.counted_at for each in self._scores.values()],
            [self.held.get(member_id) for member_id in self._scores],
        )


async def probe_is(connection: RawConnection, member_id: int, cause: str) -> None:
    """The notice of this cause is the member's probe: what bounces of it counts for the member."""
    await connection.execute(
        "UPDATE members SET probe_mailing_id = (SELECT mailing_id FROM notices WHERE cause = $2) WHERE id = $1",
        member_id,
        cause,
    )
