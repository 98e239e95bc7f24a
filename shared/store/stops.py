"""What may not start although it is released: mailings that somebody paused or cancelled or that are past their time,
deliveries that somebody cancelled, addresses that were suppressed a moment ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.core.delivery import DeliveryState
from shared.store.engine import RawConnection, fetch_one

#: A mailing's last moment is told so much ahead, so that every node knows of it by then.
AHEAD_SECONDS = 3.0
#: Whoever missed the word of a suppression reads it for so long; a claim consults the suppressions themselves.
NEW_SUPPRESSION_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Stops:
    """What a node starts nothing of, read with every sign of life."""

    mailing_ids: frozenset[int] = frozenset()
    delivery_ids: frozenset[int] = frozenset()
    #: Addresses, by their normalised form, that were suppressed within the last `NEW_SUPPRESSION_SECONDS`.
    email_keys: frozenset[str] = frozenset()


_PAST = "state <> 'finished' AND {moment} < now() + make_interval(secs => $1)"
_STOPPED = f"""
SELECT id FROM mailings WHERE state <> 'finished' AND (is_paused OR cancelled_at IS NOT NULL)
UNION SELECT id FROM mailings WHERE {_PAST.format(moment="gives_up_at")}
UNION SELECT id FROM mailings WHERE {_PAST.format(moment="not_after_at")}
"""


async def read(connection: RawConnection) -> Stops:
    """What is stopped now."""
    row = await fetch_one(
        connection,
        f"""
        SELECT ARRAY(SELECT id FROM ({_STOPPED}) stopped) AS mailing_ids,
               ARRAY(SELECT delivery_id FROM outstanding WHERE is_cancelled AND batch_id IS NOT NULL) AS delivery_ids,
               ARRAY(SELECT email_key FROM suppressions WHERE created_at > now() - make_interval(secs => $2)
                     AND (ends_at IS NULL OR ends_at > now())) AS email_keys
        """,
        AHEAD_SECONDS,
        NEW_SUPPRESSION_SECONDS,
    )
    return Stops(frozenset(row["mailing_ids"]), frozenset(row["delivery_ids"]), frozenset(row["email_keys"]))


async def stopped_mailings(connection: RawConnection) -> Sequence[int]:
    """Mailings that nothing of may start."""
    return [row["id"] for row in await connection.fetch(_STOPPED, AHEAD_SECONDS)]


async def mailings_to_end(connection: RawConnection) -> Sequence[tuple[int, DeliveryState]]:
    """Mailings whose open deliveries are to end now, and how."""
    rows = await connection.fetch(
        f"""
        SELECT id, CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled' ELSE 'expired' END AS state FROM mailings
        WHERE id IN (SELECT id FROM ({_STOPPED}) stopped)
          AND (cancelled_at IS NOT NULL OR gives_up_at < now() OR not_after_at < now())
        """,
        0.0,
    )
    return [(row["id"], DeliveryState(row["state"])) for row in rows]


async def pause(connection: RawConnection, mailing_id: int) -> None:
    """Let nothing more of the mailing start until it is resumed."""
    await connection.execute("UPDATE mailings SET is_paused = true WHERE id = $1", mailing_id)


async def resume(connection: RawConnection, mailing_id: int) -> None:
    await connection.execute("UPDATE mailings SET is_paused = false WHERE id = $1", mailing_id)


async def cancel(connection: RawConnection, mailing_id: int) -> None:
    """Let nothing more of the mailing start, for good; members without a delivery get none."""
    await connection.execute(
        """
        UPDATE mailings SET cancelled_at = coalesce(cancelled_at, now()), expand_due_at = NULL,
                            state = CASE WHEN state = 'expanding' THEN 'running' ELSE state END
        WHERE id = $1 AND state <> 'finished'
        """,
        mailing_id,
    )


async def set_not_after(connection: RawConnection, mailing_id: int, moment: datetime | None) -> None:
    """Let no attempt begin after the moment; `None` takes that back."""
    await connection.execute("UPDATE mailings SET not_after_at = $2 WHERE id = $1", mailing_id, moment)
