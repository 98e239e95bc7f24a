"""How far a mailing is: sums over its batches, and over what changed outside of them.

No row is everybody's, and no delivery is counted one by one. A delivery that ends, or stops being ended, in no node's
hands leaves its batches' counters as they are, and a `count_changes` row says the difference.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass

from sqlalchemy import BigInteger, Column, Index, text
from sqlmodel import Field, SQLModel

from shared.core.delivery import DeliveryState
from shared.store.columns import enum_type, identity_field
from shared.store.engine import RawConnection, Session


class CountChange(SQLModel, table=True):
    """So many deliveries more, or fewer, are in `state` than the batches' counters say."""

    __tablename__ = "count_changes"
    __table_args__ = (Index("ix_count_changes_mailing_id", "mailing_id"),)

    id: int = identity_field()
    mailing_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    state: DeliveryState = Field(sa_column=Column(enum_type(DeliveryState, "delivery_state"), nullable=False))
    change: int


@dataclass(frozen=True, slots=True)
class MailingCounts:
    """How many of a mailing's deliveries ended how."""

    delivered: int = 0
    refused: int = 0
    unknown: int = 0
    expired: int = 0
    suppressed: int = 0
    cancelled: int = 0
    parked: int = 0
    recently_mailed: int = 0

    @property
    def ended(self) -> int:
        return sum(astuple(self))


async def of_mailing(session: Session, mailing_id: int) -> MailingCounts:
    connection = await session.connection()
    rows = await connection.execute(
        text(
            """
            SELECT state::text, sum(n) FROM (
                SELECT 'suppressed' AS state, suppressed AS n FROM mailings WHERE id = :id
                UNION ALL SELECT state::text, change FROM count_changes WHERE mailing_id = :id
                UNION ALL SELECT counted.state, counted.n FROM batches
                    CROSS JOIN LATERAL (VALUES ('delivered', delivered), ('refused', refused), ('unknown', unknown),
                                               ('parked', parked)) counted (state, n)
                    WHERE mailing_id = :id
            ) summands GROUP BY state
            """
        ),
        {"id": mailing_id},
    )
    return MailingCounts(**{state: int(n) for state, n in rows})


async def change(connection: RawConnection, changes: Counter[tuple[int, str]]) -> None:
    """Write down how many deliveries of which mailing and state there are more (or, below 0, fewer)."""
    if changes:
        await connection.execute(
            "INSERT INTO count_changes (mailing_id, state, change)"
            " SELECT * FROM unnest($1::bigint[], $2::delivery_state[], $3::int[])",
            [mailing_id for mailing_id, _ in changes],
            [state for _, state in changes],
            list(changes.values()),
        )
