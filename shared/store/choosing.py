"""Which of a mailing's deliveries are meant: by state, domain, and what the last attempt came to."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shared.core.bounce import BounceClass
from shared.core.delivery import DeliveryState, OutcomeKind
from shared.store.engine import RawConnection, fetch_one

#: Deliveries looked at in one statement that changes what it finds.
SCANNED = 5000
#: And for a page of those that are meant: there is no index on what changes.
SCANNED_A_PAGE = 20_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What a delivery must be to be meant; `None` means any."""

    states: Collection[DeliveryState]
    delivery_id: int | None = None
    #: The recipient's domain, in lower case and ASCII.
    domain: str | None = None
    #: What the last attempt came to.
    outcome: OutcomeKind | None = None
    #: What the reply to the last attempt begins with: a reply code or its first digits, `55`; or an enhanced status or
    #: its first parts, `5.1` (RFC 3463).
    reply: str | None = None
    #: Why it bounced, in our session or by a report that came back.
    bounce_class: BounceClass | None = None

    @property
    def parameters(self) -> tuple[object, ...]:
        """`$4` to `$8` of a statement with `_MEANT`."""
        return (
            [state.value for state in self.states],
            self.domain,
            self.outcome.value if self.outcome else None,
            self.reply,
            self.bounce_class.value if self.bounce_class else None,
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The deliveries that are meant among those looked at."""

    delivery_ids: list[int]
    #: Where the next look begins; `None` when this was the last.
    next_key: str | None


_SCANNED = """
    SELECT id, mailing_created_at, recipient_key, state FROM deliveries
    WHERE mailing_id = $1 AND mailing_created_at = (SELECT created_at FROM mailings WHERE id = $1)
      AND recipient_key > $2
    ORDER BY recipient_key LIMIT $3
"""
#: On a row of `scanned`.
_MEANT = """
    state = ANY($4::delivery_state[])
    AND ($5::text IS NULL OR right(recipient_key, length($5) + 1) = '@' || $5)
    AND (($6::outcome_kind IS NULL AND $7::text IS NULL) OR (
        SELECT ($6 IS NULL OR last.outcome = $6)
           AND ($7 IS NULL OR starts_with(last.reply_code::text, $7)
                -- With a dot behind, so that 5.1.1 is not the beginning of 5.1.10.
                OR starts_with(split_part(translate(last.reply_text, E'\\n', ' '), ' ', 1) || '.', $7 || '.'))
        FROM (SELECT outcome, reply_code, reply_text FROM attempts a
              WHERE a.delivery_id = scanned.id AND a.mailing_created_at = scanned.mailing_created_at
              ORDER BY a.round DESC, a.attempt DESC LIMIT 1) last))
    AND ($8::bounce_class IS NULL OR $8 = (
        SELECT b.bounce_class FROM bounce_events b WHERE b.delivery_id = scanned.id AND b.kind = 'bounce'))
"""


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
        f"""
        WITH scanned AS MATERIALIZED ({_SCANNED}),
        meant AS (SELECT id FROM scanned WHERE {_MEANT})
        SELECT ARRAY(SELECT id FROM meant ORDER BY id) AS ids,
               (SELECT recipient_key FROM scanned ORDER BY recipient_key OFFSET $3 - 1) AS next_key
        """,
        mailing_id,
        after_key,
        SCANNED,
        *choice.parameters,
    )
    return Chosen(row["ids"], row["next_key"])


async def page(connection: RawConnection, mailing_id: int, choice: Choice, after_key: str, *, limit: int) -> Chosen:
    """The first `limit` that are meant, in the order of their normalised addresses, among the next `SCANNED_A_PAGE`."""
    rows = await connection.fetch(
        f"SELECT id, recipient_key FROM ({_SCANNED}) scanned WHERE {_MEANT} ORDER BY recipient_key LIMIT $9",
        mailing_id,
        after_key,
        SCANNED_A_PAGE,
        *choice.parameters,
        limit,
    )
    if len(rows) == limit:
        next_key = rows[-1]["recipient_key"]
    else:
        next_key = await connection.fetchval(
            f"SELECT recipient_key FROM ({_SCANNED}) scanned ORDER BY recipient_key OFFSET $3 - 1",
            mailing_id,
            after_key,
            SCANNED_A_PAGE,
        )
    return Chosen([row["id"] for row in rows], next_key)
