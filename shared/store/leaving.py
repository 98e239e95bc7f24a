"""What is open to a member who left: taken back, wherever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.store import endings, rounds
from shared.store.engine import RawConnection


async def stop_deliveries(connection: RawConnection, member_ids: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
    """End what is open to those of these members who left, as cancelled; what is in nodes' hands: batch → deliveries.

    Outside of any transaction, after the one in which they left. What is made for them at the same moment ends when it
    is claimed: a claim consults the members.
    """
    rows = await connection.fetch(
        """
        SELECT d.id FROM members
        JOIN mailings m ON (m.list_id = members.list_id OR members.list_id = ANY(m.list_ids)) AND m.state <> 'finished'
        CROSS JOIN LATERAL (
            SELECT id FROM deliveries
            WHERE mailing_id = m.id AND recipient_key = members.email_key AND mailing_created_at = m.created_at
              AND state = 'open' AND member_id = members.id
        ) d
        WHERE members.id = ANY($1) AND members.status = 'unsubscribed'
        """,
        member_ids,
    )
    if not rows:
        return {}
    _, in_batches = await rounds.cancel(connection, [row["id"] for row in rows])
    await endings.end_cancelled(connection)
    return in_batches
