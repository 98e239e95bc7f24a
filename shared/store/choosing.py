"""Which of a mailing's deliveries are meant: by state, domain, and what the last attempt came to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shared.core.delivery import DeliveryState, OutcomeKind
from shared.store.engine import RawConnection, fetch_one

#: Deliveries looked at in one statement.
SCANNED = 5000


@dataclass(frozen=True, slots=True)
class Choice:
    """What a delivery must be to be meant; `None` means any."""

    states: Collection[DeliveryState]
    delivery_id: int | None = None
    #: The recipient's domain, in lower case and ASCII.
    domain: str | None = None
    #: What the last attempt came to.
    outcome: OutcomeKind | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The deliveries that are meant among those looked at."""

    delivery_ids: list[int]
    #: Where the next look begins; `None` when this was the last.
    next_key: str | None


async def choose(connection: RawConnection, mailing_id: int, choice: Choice, after_key: str) -> Chosen:
    """Of the next `SCANNED` deliveries in the order of their normalised addresses, those that are meant."""
    if choice.delivery_id is not None:
        found = await connection.fetch(
            "SELECT id FROM deliveries WHERE id = $1 AND mailing_id = $2 AND state = ANY($3::delivery_state[])",
            choice.delivery_id,
            mailing_id,
            [state.value for state in choice.states],
        )
        return Chosen([row["id"] for row in found], None)
    row = await fetch_one(
        connection,
        """
        WITH scanned AS MATERIALIZED (
            SELECT id, mailing_created_at, recipient_key, state FROM deliveries
            WHERE mailing_id = $1 AND mailing_created_at = (SELECT created_at FROM mailings WHERE id = $1)
              AND recipient_key > $2
            ORDER BY recipient_key LIMIT $3
        ), meant AS (
            SELECT id FROM scanned
            WHERE state = ANY($4::delivery_state[])
              AND ($5::text IS NULL OR right(recipient_key, length($5) + 1) = '@' || $5)
              AND ($6::outcome_kind IS NULL OR $6 = (
                  SELECT a.outcome FROM attempts a
                  WHERE a.delivery_id = scanned.id AND a.mailing_created_at = scanned.mailing_created_at
                  ORDER BY a.round DESC, a.attempt DESC LIMIT 1))
        )
        SELECT ARRAY(SELECT id FROM meant ORDER BY id) AS ids,
               (SELECT recipient_key FROM scanned ORDER BY recipient_key OFFSET $3 - 1) AS next_key
        """,
        mailing_id,
        after_key,
        SCANNED,
        [state.value for state in choice.states],
        choice.domain,
        choice.outcome.value if choice.outcome else None,
    )
    return Chosen(row["ids"], row["next_key"])
