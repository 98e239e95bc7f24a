"""Members who are held after bounces: whom to remind, and whom to let go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.core.address import Address
from shared.store.engine import RawConnection


@dataclass(frozen=True, slots=True)
class HeldMember:
    """Whom to remind, of what."""

    id: int
    list_id: int
    address: Address
    #: What the last bounce said.
    because: str


async def to_remind(
    connection: RawConnection, *, after_days: int, max_reminders: int, limit: int
) -> Sequence[HeldMember]:
    """Members who were held, or reminded, so long ago, and not that often; they count as reminded now."""
    rows = await connection.fetch(
        """
        UPDATE members SET held_reminders = held_reminders + 1, held_reminded_at = now()
        WHERE id IN (SELECT id FROM members
                     WHERE status = 'held' AND held_reminders < $2
                       AND coalesce(held_reminded_at, held_at, joined_at) < now() - make_interval(days => $1)
                     ORDER BY coalesce(held_reminded_at, held_at, joined_at) LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED)
        RETURNING id, list_id, email, coalesce(held_because, '') AS because
        """,
        after_days,
        max_reminders,
        limit,
    )
    found = [HeldMember(row["id"], row["list_id"], Address.parse(row["email"]), row["because"]) for row in rows]
    return sorted(found, key=lambda member: member.id)


async def to_let_go(connection: RawConnection, *, after_days: int, max_reminders: int, limit: int) -> Sequence[int]:
    """Members whose last reminder was so long ago, on lists that remove them; locked until the transaction ends."""
    rows = await connection.fetch(
        """
        SELECT m.id FROM members m JOIN mailing_lists l ON l.id = m.list_id AND l.removes_held_members
        WHERE m.status = 'held' AND m.held_reminders >= $2
          AND coalesce(m.held_reminded_at, m.held_at, m.joined_at) < now() - make_interval(days => $1)
        ORDER BY coalesce(m.held_reminded_at, m.held_at, m.joined_at) LIMIT $3 FOR NO KEY UPDATE OF m SKIP LOCKED
        """,
        after_days,
        max_reminders,
        limit,
    )
    return [row["id"] for row in rows]
