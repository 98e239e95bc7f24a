"""What became of a mailing's recipients, a row each: for files of a million rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.core.bounce import BounceClass
from shared.core.delivery import DeliveryState, OutcomeKind
from shared.store.engine import RawConnection


@dataclass(frozen=True, slots=True)
class Fate:
    """One recipient, the last attempt, and what came back afterwards."""

    delivery_id: int
    recipient: str
    state: DeliveryState
    round: int
    attempts: int
    outcome: OutcomeKind | None
    reply_code: int | None
    #: The remote's own words.
    reply_text: str | None
    because: str | None
    remote_host: str | None
    node_name: str | None
    attempted_at: datetime | None
    ended_at: datetime | None
    #: In our session, or by a report.
    bounce_class: BounceClass | None
    bounce_reply: str | None
    bounced_at: datetime | None


async def of(connection: RawConnection, mailing_id: int, delivery_ids: Sequence[int]) -> Sequence[Fate]:
    """The fates of these deliveries of a mailing, in the order given."""
    rows = await connection.fetch(
        """
        SELECT d.id AS delivery_id, d.recipient, d.state, d.round, coalesce(tried.attempts, 0) AS attempts,
               last.outcome, last.reply_code, last.reply_text, last.because, last.remote_host, last.node_name,
               last.ended_at AS attempted_at, d.ended_at,
               bounced.bounce_class, bounced.reply AS bounce_reply, bounced.happened_at AS bounced_at
        FROM (SELECT created_at FROM mailings WHERE id = $1) mailing
        CROSS JOIN unnest($2::bigint[]) WITH ORDINALITY AS given (id, place)
        CROSS JOIN LATERAL (
            SELECT * FROM deliveries WHERE id = given.id AND mailing_created_at = mailing.created_at LIMIT 1
        ) d
        LEFT JOIN LATERAL (
            SELECT count(*) AS attempts FROM attempts
            WHERE delivery_id = given.id AND mailing_created_at = mailing.created_at
        ) tried ON true
        LEFT JOIN LATERAL (
            SELECT * FROM attempts WHERE delivery_id = given.id AND mailing_created_at = mailing.created_at
            ORDER BY round DESC, attempt DESC LIMIT 1
        ) last ON true
        LEFT JOIN LATERAL (
            SELECT bounce_class, reply, happened_at FROM bounce_events
            WHERE delivery_id = given.id AND kind = 'bounce' LIMIT 1
        ) bounced ON true
        ORDER BY place
        """,
        mailing_id,
        delivery_ids,
    )
    return [
        Fate(
            **{
                **row,
                "state": DeliveryState(row["state"]),
                "outcome": OutcomeKind(row["outcome"]) if row["outcome"] else None,
                "bounce_class": BounceClass(row["bounce_class"]) if row["bounce_class"] else None,
            }
        )
        for row in rows
    ]
